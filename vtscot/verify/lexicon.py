"""The words and patterns of the leak filter; `vtscot.verify.leaks` says how they are used."""

from __future__ import annotations

import re
from typing import Final


def rule(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


_COLOUR: Final = (
    r"(?:magenta|fuchsia|pink|purple|violet|red|green|yellow|blue|cyan|orange|white|black|colou?red|colou?r)"
)
_DRAWN: Final = r"(?:magenta|fuchsia|drawn|given|provided|superimposed|overlaid|colou?red|marking|marker)"
_LINE: Final = r"(?:outlines?|contours?|highlights?|boundary|boundaries)"
_SHAPE: Final = (
    r"(?:outlines?|contours?|highlights?|boundary|border|lines?|edges?|box|rectangle|rings?|circle|"
    r"overlay|mask|markings?)"
)
_GENERIC: Final = (
    r"(?:target|object|one|ones|instance|subject|candidate|thing|figure|region|area|part|pixels?|shape|entity|item)s?"
)
_TELLS: Final = (
    r"(?:marks?|shows?|indicates?|tells?|says?|points?|covers?|surrounds?|encloses?|includes?|contains?|follows?|fits?|"
    r"matches|runs? around|lies? around|is (?:drawn|around|on|given|empty|tight)|are (?:drawn|around|on|given)|"
    r"around|drawn|given|"
    r"in (?:the|this|each) (?:sharp )?(?:frame|picture|image)|in frames? \d)"
)
_PICTURE: Final = r"(?:in|on) (?:the |this |these |each |every |both )?(?:\w+ )?(?:frames?|pictures?|images?|video)\b"
WRITING: Final = (
    r"(?:letter\w*|text|logo|sign|number|digits?|words?|caption|subtitles?|watermark|score\w*|title|clock|timestamp|"
    r"name|graffiti|cartoon|drawing|stripes?|windows?)"
)
_MARKED: Final = (
    r"(?:outlined|circled|encircled|highlighted|marked|boxed|labell?ed|tagged|indicated|annotated|masked|traced)"
)
_ONE_OF: Final = (
    r"(?:[.,;:!?]|$|\band\b|\bhere\b|\bfor (?:me|us|(?:the|this) (?:frame|picture|image))\b|"
    r"\bas (?:the |a )?(?:target|answer|object|one)\b)"
)

ANNOTATION: Final = rule(
    r"\bground[ -]?truth\w*",
    r"\bgt\b",
    r"\bannotat(?:ion|ions|ed|es|ing|ors?)\b(?! (?:on|in) (?:it|(?:the |a )?(?:\w+board|board|map|page|paper|"
    r"book|screen)))",
    r"\bsegmentation\b|\bsegmented\b",
    r"\bbounding[ -]?(?:box(?:es)?|rectangles?)|\bbbox\w*",
    r"\biou\b|\brle\b|\bmeta ?data\b|\bdata ?set\b|\bthe oracle\b",
    r"\b(?:binary|instance|object|target|pixel|reference|semantic)(?:'s)? masks?\b",
    r"\bmasks? of (?:the |this |each )?" + _GENERIC + r"\b",
    r"\b(?:label|annotation)s? of (?:the|this|that|each) " + _GENERIC + r"\b",
    r"\b(?:answer key|label map|object id|anno id|mask id)\b",
)
MARKING: Final = rule(
    rf"\b(?:the|this|that|its) (?:outlined|circled|encircled|boxed) (?!{WRITING}|track|path|route|area of)\w+",
    rf"\b(?:the|this|that|its) (?:\w+ )?(?:highlighted|marked|labell?ed|tagged|indicated|masked|traced|designated) "
    rf"{_GENERIC}\b",
    r"\b(?:the|this|that) (?:highlighted|marked|tagged|indicated) (?:dog|cat|animal|bird|horse)\b",
    rf"\b(?:is|are|was|were|be|been|being|one|not|nothing|that's) (?:clearly |also |already |only |so )?{_MARKED}"
    rf"(?=\s*{_ONE_OF}|\s+{_PICTURE}|\s+(?:in|with) (?:a |the )?(?:\w+ )?(?:magenta|pink|purple|fuchsia|colou?r|"
    rf"line|outline|box)\b)",
    r"\b(?:outlined|marked|circled|highlighted|drawn|traced|boxed) (?:in|with) (?:a |the )?(?:thin |bright )?"
    r"(?:magenta|fuchsia|pink|purple|violet)\b",
    rf"(?<!letters )(?<!lettering )(?<!text )(?<!logo )(?<!sign )(?<!number )(?<!letters are )"
    rf"(?<!text is )(?<!logo is )"
    rf"(?<!bus are )(?<!sign are )(?<!windows are )\b(?:outlined|circled|boxed) in (?:a )?{_COLOUR}\b",
    r"\b(?:that|which|who) (?:is|are|was|were|has been|have been) (?:outlined|circled|encircled|highlighted|"
    r"boxed|indicated)\b(?! (?:by|against))",
    r"\bas (?:marked|outlined|highlighted|labell?ed|annotated|circled)\b",
    rf"\b{_COLOUR}-(?:outlined|circled|marked|boxed)\b|\b{_SHAPE} drawn on (?:it|him|her|them|(?:the|"
    rf"this) (?:frame|picture|image))\b",
    rf"\b(?:{_SHAPE} )?drawn (?:around|over) (?:it|him|her|them|the|in)\b|\bdrawn around\b",
    r"\b(?:has|have|had|someone|somebody) (?:outlined|circled|highlighted|boxed) (?:the|it|him|her|them|this)\b",
    r"\b(?:frames?|pictures?|images?|video)(?: \d+)? (?:outlines?|marks?|highlights?|circles?)\b",
    r"\b(?:enclosed|surrounded|framed|bounded|encircled) by (?:the|an?) (?:\w+ )?(?:outline|contour|rectangle)\b",
    rf"\b(?:enclosed|surrounded|framed|bounded|encircled) by (?:the|an?) (?:magenta|pink|purple|violet) {_SHAPE}\b",
    rf"\bas indicated(?=\s*[.,;]|\s+{_PICTURE}|\s+by the (?:{_SHAPE}|marking|hint))",
    rf"\b{_DRAWN} (?:\w+ )?{_SHAPE}\b",
    rf"\b(?:pink|purple|violet) {_LINE}\b",
    rf"\b(?:the|this|that|inside|within|in|by) (?:thin |bright )?{_COLOUR} (?:outline|contour|overlay)\b",
    rf"\b{_SHAPE} (?:has|have|had|is|are|was|were) (?:been )?drawn\b",
    rf"\b(?:an?|no|any|without) (?:\w+ )?(?:outline|contour|box|rectangle) (?:{_TELLS})",
    r"\b(?:with|has|have|having|without) (?:an?|the|no) outline\b(?! of)",
    rf"\bthe (?:outline|contour) (?:{_TELLS}|of (?:the |this )?{_GENERIC}\b)",
    r"\b(?:by|inside|within|from|per|following|through) the (?:outline|contour)\b(?! of (?!the (?:target|object)))",
    r"\bthe (?:marking|marker|markings) (?:is|are|" + _TELLS + ")",
)
OVERLAY: Final = rule(r"\boverla(?:ys?\b(?! of)|id\b|yed\b)|\bsuperimposed\b")
HINT: Final = rule(
    r"\b(?:the|this|these|given|private|provided|your|my) (?:\w+ )?hints?\b(?! of\b)",
    r"\b(?:as|was|were|been|am|are|is) hinted\b|\bprivate(?:ly)? (?:given|told|information)\b",
    r"\b(?:given|provided|mined) facts\b|\bthe facts (?:say|tell|show|state|given)\b",
    r"\b(?:i|we) (?:was|were|am|are|have been|had been|'ve been) (?:told|given|informed|instructed)\b",
    r"\b(?:it|this|that) (?:has been|was|is) (?:given|told|provided|known) (?:that|to (?:me|us))\b",
    r"\bthe (?:mined |given )?plan\b",
    r"\baccording to (?:the|my) (?:given |private |provided )?(?:hint|annotation|data|label|information|"
    r"instructions?|meta|plan|answer|mark|outline)\w*",
    r"\b(?:the|my|per) (?:prompt|instructions?)\b(?! (?:on|printed|in) )",
    r"\b(?:known|expected|given|provided|labell?ed) (?:answer|target|label|window|object)\b",
    r"\b(?:correct|right|official) answer\b",
    r"\bas (?:given|provided|stated|specified|instructed|hinted|told)\b(?! (?:in|by) the (?:expression|words|"
    r"sentence|query))",
    r"\bcandidate (?:key ?)?frames?\b|\bknown to me\b",
)
COORDINATES: Final = rule(
    r"[(\[]\s*-?\d+(?:\.\d+)?(?:\s*[,;]\s*-?\d+(?:\.\d+)?)+\s*[)\]]?",
    r"(?<![\d:])\d+\.\d+(?![\d]*\s*(?:s\b|sec|minutes?))",
    r"\b[xywh]\d?\s*(?:[=:]|\bis\b|\bat\b)\s*\d+",
    r"\b(?:width|height|area|size|centre|center|left|right|top|bottom)(?: edge| border)?\s*(?:[=:]|is|of|"
    r"at)\s*(?:about )?\d+",
    r"\b(?:moves?|shifts?|grows?|shrinks?|jumps?|drops?) by \d+|\b\d+ (?:wide|tall|high|across)\b",
    r"\b\d{2,}\s*(?:x|\u00d7|by)\s*\d{2,}\b",
    r"\b\d+ ?(?:px|pixels?)\b",
    r"\bpixel coordinates?\b|\b(?:its|the|box|known|exact) coordinates?\b|\bcoordinates? (?:are|is|of|given|\d)",
    r"(?<!few )(?<!couple of )(?<!some )\bpixels\b(?! art)",
)
SHARE: Final = re.compile(
    r"(?P<hedge>\b(?:about|around|roughly|nearly|almost|some|maybe|perhaps)\s+)?(?P<n>\d+)\s*(?:%|per ?cent\b)",
    re.IGNORECASE,
)
TIME: Final = rule(r"\b\d+(?:\.\d+)? ?(?:secs?|seconds?|minutes?|fps)\b", r"\b\d+(?:\.\d+s| s)\b")
MINUTE: Final = re.compile(r"\b\d{1,2}:\d\d\b")
CLOCK: Final = re.compile(r"\b(?:clock|scoreboard|timer|score|(?:the|a|his|her) watch|time code)\b", re.IGNORECASE)

NUMBER: Final = re.compile(r"(?:(?<![\w.])|(?<=frame))\d+(?!(?!(?:st|nd|rd|th|s)\b)[A-Za-z_])")
FRAMED: Final = re.compile(
    r"\bframes(?:\s+(?:numbers?|no\.?|indices))?[\s#:]*"
    r"(?:\d+\s*(?:,|and|or|to|through|until|up to|-|\u2013|\u2014|&|then|/|\s)*\s*#?)*$|"
    r"\bframe(?:\s+(?:number|no\.?|index))?[\s#:]*(?:\d+\s*(?:and|or|to|through|until|-|\u2013|\u2014)\s*)?$|"
    r"\bindex\s*$",
    re.IGNORECASE,
)
READ: Final = re.compile(
    r"(?:#|\b(?:number|numbered|no\.|jersey|shirt|bib|route|bus|tram|line|plate|reads?|reading|saying|says|"
    r"player|racer|"
    r"runner|rider|lane|car|boeing|airbus|highway|interstate|flight|platform|gate|room|house|track|year)\s*)$",
    re.IGNORECASE,
)
QUOTED: Final = re.compile(r"[\"\u201c'\u2018][^\"\u201c\u201d'\u2018\u2019]*[\"\u201d'\u2019]")
LEADS: Final = re.compile(
    r"\b(?:are|about|around|some|roughly|over|nearly|almost|than|of|with|least|see|count|contains?|has|have|"
    r"holds?|by|all)\s*$",
    re.IGNORECASE,
)
THINGS: Final = re.compile(
    r"(?:\s+or so)?(?:\s+(?:more|other|small|large|tall|young|white|black|red|blue|green|brown))?\s+"
    r"(?!frames|pixels|units|seconds|minutes|points|degrees|times|boxes|masks|indices|columns|rows|tokens|steps|"
    r"onwards|"
    r"is\b|was\b|has\b|as\b|its\b|this\b|of\b|to\b)"
    r"(?:[a-z]+[a-rt-z]s|people|men|women|children|sheep|fish|deer|geese)\b",
    re.IGNORECASE,
)
BOX_TOLD: Final = re.compile(
    rf"\b(?:in|inside|within|by|per) the (?:box|rectangle|mask)\b(?! (?:office|seat|car|truck))|"
    rf"\bthe mask (?:{_TELLS})|\bthe (?:outline|contour)\b(?!s? of)|\bthe (?:box|rectangle) (?:marks|shows|"
    rf"indicates|tells|surrounds|encloses|covers|fits|"
    rf"goes|spans|extends|around|drawn|given|is (?:drawn|around|given|tight))\b|\b(?:box|"
    rf"rectangle) around (?:it|him|her|them|the)\b",
    re.IGNORECASE,
)
LEADING: Final = (
    r"an?|its|whose|two|three|several|many|some|his|her|their|wears?|wearing|"
    r"cardboard|wooden|plastic|face|ski|gas|surgical"
)
ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SPELT: Final = re.compile(
    rf"(?<=\bframe )(?:({'|'.join(TENS)})(?:[ -]({'|'.join(ONES[1:10])}))?|({'|'.join(reversed(ONES))}))\b",
    re.IGNORECASE,
)
LENGTH: Final = re.compile(r" (?:of (?:the|all) )?frames\b(?! (?:shown|seen|that I see|I see|above))")
SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")

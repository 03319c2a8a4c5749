"""Frames as data URLs, encoded once however many requests show them.

A store holds at most `max_bytes` of encoded images and forgets the least recently used first. Decoding, marking and
encoding happen in its threads, so that the event loop keeps running; two requests that want the same image at the
same time share one encoding.
"""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from vtscot.endpoint.request import Picture

if TYPE_CHECKING:
    from PIL import Image

    from vtscot.masks import Rle

_Key = tuple[str, int, str | None]
QUALITY: Final = 85
COLOUR: Final = (255, 0, 255)  # request.OUTLINE


class ImageStore:
    """Data URLs of pictures, made on demand."""

    def __init__(self, max_bytes: int = 32 << 20, threads: int = 2) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._made: OrderedDict[_Key, str] = OrderedDict()
        self._making: dict[_Key, asyncio.Future[str]] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="images")

    async def urls(self, pictures: Sequence[Picture]) -> list[str]:
        """The pictures of one request, put in line together: requests get ready one after the other, not all at last.

        Raises FrameError where a frame cannot be read.
        """
        made = [self._made.get(picture.identity) for picture in pictures]
        if all(made):
            for picture in pictures:
                self._made.move_to_end(picture.identity)
            return [url for url in made if url is not None]
        results = await asyncio.gather(*map(self.url, pictures), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, str)]

    async def url(self, picture: Picture) -> str:
        """The picture as `data:image/jpeg;base64,...`; raises FrameError where the frame cannot be read."""
        key = picture.identity
        if (made := self._made.get(key)) is not None:
            self._made.move_to_end(key)
            return made
        making = self._making.get(key)
        if making is None:
            making = asyncio.get_running_loop().run_in_executor(self._pool, data_url, picture)
            self._making[key] = making
            making.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(making)  # another request may wait for it too

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _keep(self, key: _Key, done: asyncio.Future[str]) -> None:
        del self._making[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._made[key] = done.result()
        self._bytes += len(done.result())
        while self._bytes > self._max_bytes:
            _, dropped = self._made.popitem(last=False)
            self._bytes -= len(dropped)


def data_url(picture: Picture) -> str:
    """Decode, mark and encode one picture."""
    from vtscot.frames import encode_jpeg

    image = picture.load()
    if picture.outline is not None:
        image = outlined(image, picture.outline)
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, quality=QUALITY)).decode("ascii")


def outlined(image: Image.Image, mask: Rle) -> Image.Image:
    """A copy of `image` with a line around `mask`; the line lies outside, so that the object itself stays as it is.

    The mask may have another size than the image: it is scaled to it.
    """
    from PIL import Image, ImageChops, ImageFilter

    from vtscot.masks import decode

    inside = Image.fromarray(decode(mask)).convert("L").resize(image.size, Image.Resampling.NEAREST)
    result = image.copy()
    if (box := inside.getbbox()) is None:
        return result
    width = max(1, min(image.size) // 160)
    left, top = max(0, box[0] - width), max(0, box[1] - width)
    inside = inside.crop((left, top, min(image.width, box[2] + width), min(image.height, box[3] + width)))
    ring = ImageChops.subtract(inside.filter(ImageFilter.MaxFilter(2 * width + 1)), inside)
    result.paste(COLOUR, (left, top), mask=ring)
    return result

"""From outcomes to what people see: the dataset with its card, the report, and the way to the Hub.

`publish` writes both from plain data, and writes the same bytes for the same data. Nothing here knows how outcomes
come about: what it needs besides them is in `PublishContext`.
"""

from vtscot.publish.context import PublishContext, Published
from vtscot.publish.release import publish
from vtscot.publish.sending import Target, push
from vtscot.publish.validate import validate_dataset

__all__ = ["PublishContext", "Published", "Target", "publish", "push", "validate_dataset"]

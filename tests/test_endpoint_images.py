"""Images of requests: the outline, and the store that makes each image once."""

from __future__ import annotations

import asyncio

import numpy as np
from PIL import Image

from vtscot.endpoint.images import ImageStore, outlined
from vtscot.endpoint.request import Picture
from vtscot.masks import Rle

SIZE = (96, 64)  # width, height


def square() -> Rle:
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
    mask[20:40, 30:60] = True
    return Rle.from_array(mask)


def test_an_outline_lies_around_the_object_and_not_on_it() -> None:
    image = Image.new("RGB", SIZE, (90, 90, 90))
    result = np.asarray(outlined(image, square()))
    assert (result[20:40, 30:60] == 90).all()
    assert (result[19, 30:60] == (255, 0, 255)).all()
    assert (result[10, :] == 90).all()


def test_an_outline_is_scaled_to_the_image() -> None:
    result = np.asarray(outlined(Image.new("RGB", (48, 32)), square()))
    assert (result[10:20, 15:30] == 0).all()
    assert (result[9, 15:30] == (255, 0, 255)).all()


def test_an_image_is_made_once_and_the_oldest_is_forgotten() -> None:
    made: list[int] = []

    def picture(index: int) -> Picture:
        def load() -> Image.Image:
            made.append(index)
            return Image.new("RGB", (64, 64), (index, 0, 0))

        return Picture(str(index), index, 64 * 64, load)

    async def run() -> None:
        first = await ImageStore().url(picture(0))
        store = ImageStore(max_bytes=int(2.5 * len(first)))
        await asyncio.gather(*(store.url(picture(1)) for _ in range(5)))
        await store.url(picture(2))
        await store.url(picture(1))  # used again: 2 is the oldest now
        await store.url(picture(3))
        await store.url(picture(1))
        await store.url(picture(2))
        store.close()

    asyncio.run(run())
    assert made == [0, 1, 2, 3, 2]

"""A source that child processes can import and that kills one of them."""

import os
from typing import ClassVar

from cxr14_tree import grey

from evax.data.film import Film, Pixels
from evax.data.sources.base import Source

COUNT = 48


class DeadlySource(Source):
    """Kills the process that reads film 20 and fails to read film 3."""

    name: ClassVar = "deadly"
    version: ClassVar = "1"
    share: ClassVar = "public"
    findings: ClassVar = ()

    def films(self):
        return [Film(str(number), str(number), ()) for number in range(COUNT)], []

    def read(self, film):
        if film.image_id == "20":
            os._exit(1)
        if film.image_id == "3":
            raise OSError("no such disk")
        return Pixels(grey(int(film.image_id)), {})

    def fingerprint(self):
        return ""

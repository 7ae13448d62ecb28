"""A picture on a page: its title, how to read it, and the image itself."""

import base64
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A picture's file name without suffix, its title, how to read it, and its PNG."""

    name: str
    title: str
    caption: str
    png: bytes

    @property
    def of_cases(self) -> bool:
        """Whether it shows single cases."""
        return self.name.startswith("cases-")

    @property
    def source(self) -> str:
        """The PNG as an address that holds it, so that a page needs no other file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

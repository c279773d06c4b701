"""The files below a folder: each once, in an order that is the same on every machine, and what is not one of them."""

import heapq
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import category

from evax.data.film import OTHER_FORM, Refusal

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".dcm", ".dicom")
# Forms of images, and of archives that may hold some, that are not read
OTHER_FORMS = (
    *(".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".j2k", ".jpx", ".jxl", ".heic", ".heif", ".avif", ".svg"),
    *(".ppm", ".pgm", ".pnm", ".tga", ".psd", ".raw", ".dng", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".img"),
    *(".ima", ".npy", ".npz", ".mat", ".pdf", ".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar"),
)
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
ENDING = re.compile(r"\.(?=.*[a-z])[a-z0-9_]{1,10}")
CONTROLS = ("Cc", "Zl", "Zp")  # of Unicode: control characters, and what splits lines
PACKED = (".gz", ".bz2", ".xz", ".zst")
JUNK = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information")


@dataclass
class Listing:
    """What lies below a folder.

    `files` are the wanted ones by their path from the folder, in the order of these paths; `others` the names of the
    rest. `refusals` are of what cannot be looked at, by name: names that are not UTF-8, links that lead nowhere,
    folders that cannot be opened, and what is neither file nor folder. `num_hidden` files and folders are left out by
    their names, `num_repeated` links because they lead to a file that is listed.
    """

    files: dict[str, Path] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    num_hidden: int = 0
    num_repeated: int = 0


def list_files(
    folder: Path, is_wanted: Callable[[Path], bool], *, is_deep: bool = True, skip: Path | None = None
) -> Listing:
    """The wanted files in a folder and in those below it, also behind links, each once; none of the folder `skip`.

    What lies in the folder itself keeps its name though a link leads there, too; of several links to one thing, the
    first by name counts. A link to a folder above is a loop, and is not followed. Hard links are files of their own.
    With `is_deep=False` folders in the folder are not looked into. Raises OSError where the folder cannot be read.
    """
    with os.scandir(folder):
        pass
    walk = _Walk(is_wanted, skip, is_deep=is_deep)
    walk.look_below("", str(folder), os.path.realpath(folder))
    walk.follow_links(os.path.realpath(folder))
    listing = walk.listing
    listing.files = dict(sorted(listing.files.items(), key=lambda item: item[0].split("/")))
    listing.refusals.sort(key=lambda refusal: refusal.item.split("/"))
    return listing


def has_suffix(path: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> bool:
    """Whether a file's name ends in one of some endings, in any case."""
    return path.suffix.lower() in suffixes


def plain_ending(name: str) -> str:
    """A name with its ending in lower case, as tables write it."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}{dot}{ending.lower()}" if dot else name


def is_hidden(name: str) -> bool:
    """Whether a name is of what systems hide or leave behind, such as .DS_Store, ._film.png and Thumbs.db."""
    return name.startswith(".") or name.lower() in JUNK


def printable(name: str) -> str:
    """A name of any bytes as text: bytes that are not UTF-8 as `\\xfc`."""
    return os.fsencode(name).decode(errors="backslashreplace")


def on_one_line(name: str) -> str:
    """A name as logs and lists of a name a line have it, with line breaks and other control characters escaped."""
    return "".join(repr(char)[1:-1] if category(char) in CONTROLS else char for char in printable(name))


def state_of(path: Path | None) -> tuple[int, int] | None:
    """Size and time of change of a file, by which one that changed is known; None where they cannot be had."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status else None


def is_text(name: str) -> bool:
    """Whether a name is UTF-8, so that it can be written into tables."""
    return printable(name) == name


def unsafe(name: str) -> Refusal:
    """The refusal of a name that is not UTF-8."""
    return Refusal(printable(name), "unsafe_name", "the name is not UTF-8: rename it, for example by convmv -t utf8")


def form_of(name: str) -> str:
    """A name's ending in lower case, both of .nii.gz; "" of names without one, and of numbers as in DICOM's names."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    if not suffixes or not ENDING.fullmatch(suffixes[-1]):
        return ""
    is_packed = suffixes[-1] in PACKED and len(suffixes) > 1 and ENDING.fullmatch(suffixes[-2])
    return "".join(suffixes[-2:]) if is_packed else suffixes[-1]


def other_forms(listing: Listing) -> list[Refusal]:
    """The image files and archives among what is not wanted, each with the fix."""
    forms = {name: form_of(name) for name in listing.others}
    fixes = {name: "unpack it" if form in ARCHIVES else "convert it to PNG" for name, form in forms.items()}
    return [Refusal(printable(name), OTHER_FORM, fixes[name]) for name in forms if forms[name] in OTHER_FORMS]


def left_out(listing: Listing) -> str:
    """One line that counts what was left out, by form; "" where nothing was."""
    forms = Counter(form_of(name) for name in listing.others)
    images = Counter({form: count for form, count in forms.items() if form in OTHER_FORMS})
    parts = []
    if images:
        fix = "convert images to PNG, unpack archives" if images.keys() & {*ARCHIVES} else "convert them to PNG"
        what = counted(images.total(), "file that is no PNG, JPEG or DICOM", "files that are no PNG, JPEG or DICOM")
        parts.append(f"{what} ({_counted(images)}; {fix})")
    if others := forms - images:
        parts.append(f"{counted(others.total(), 'other file')} ({_counted(others)})")
    if listing.num_hidden:
        parts.append(counted(listing.num_hidden, "hidden file or folder", "hidden files and folders"))
    if listing.num_repeated:
        parts.append(counted(listing.num_repeated, "link to a file that is listed", "links to files that are listed"))
    return f"left out: {', '.join(parts)}" if parts else ""


def _counted(forms: Counter[str]) -> str:
    most = sorted(forms.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {form or 'without an ending'}" for form, count in most)


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, which takes an s where `many` are not called otherwise; "no" for 0."""
    return f"{number or 'no'} {one if number == 1 else many or f'{one}s'}"


class _Walk:
    """A walk through folders, known by their real paths: inodes are not unique on every network file system."""

    def __init__(self, is_wanted: Callable[[Path], bool], skip: Path | None, *, is_deep: bool) -> None:
        self.listing = Listing()
        self._is_wanted, self._is_deep = is_wanted, is_deep
        self._visited = {os.path.realpath(skip)} if skip is not None else set()
        self._links: list[tuple[list[str], str]] = []  # a heap, by the parts of their names
        self._folders: dict[str, str] = {}  # the real path of each folder, by its name

    def look_below(self, name: str, path: str, real: str) -> None:
        """Take the files of a folder and of those in it, and note the links."""
        stack = [(name, path, real)]
        while stack:
            name, path, real = stack.pop()
            if real in self._visited:
                continue
            self._visited.add(real)
            self._folders[name] = real
            try:
                with os.scandir(path) as entries:
                    found = list(entries)
            except OSError as error:
                self._refuse(name, f"the folder cannot be read: {error.strerror}")
                continue
            for entry in found:
                below = f"{name}/{entry.name}" if name else entry.name
                if is_hidden(entry.name):
                    self.listing.num_hidden += 1
                elif entry.is_symlink():
                    heapq.heappush(self._links, (below.split("/"), entry.path))
                elif entry.is_dir(follow_symlinks=False):
                    stack += [(below, entry.path, f"{real}/{entry.name}")] if self._is_deep else []
                else:
                    self._take(below, entry.path, is_file=entry.is_file(follow_symlinks=False))

    def follow_links(self, root: str) -> None:
        """Look below the links to folders, then take the links to files that are not listed."""
        links: list[tuple[str, str, str]] = []
        while self._links:
            parts, path = heapq.heappop(self._links)
            name, real = "/".join(parts), os.path.realpath(path)
            if not stat.S_ISDIR(_mode(real)):
                links.append((name, path, real))
            elif self._is_deep and not f"{root}/".startswith(f"{real.rstrip('/')}/"):
                self.look_below(name, path, real)
        listed = self._listed() if links else set()
        for name, path, real in links:
            mode = _mode(real)
            if real in listed:
                self.listing.num_repeated += 1
            elif mode:
                self._take(name, path, is_file=stat.S_ISREG(mode))
                listed.add(real)
            elif _may_be_wanted(name):
                self._refuse(name, "the link leads nowhere: mend or delete it")

    def _listed(self) -> set[str]:
        """The real paths of the files so far."""
        places = (name.rpartition("/") for name in self.listing.files)
        return {f"{self._folders[folder]}/{file}" for folder, _, file in places}

    def _take(self, name: str, path: str, *, is_file: bool) -> None:
        """List a file, or refuse what is none without opening it."""
        if is_file and not self._is_wanted(Path(path)):
            self.listing.others.append(name)
        elif not is_text(name):
            self.listing.refusals.append(unsafe(name))
        elif is_file:
            self.listing.files[name] = Path(path)
        elif _may_be_wanted(name):
            self._refuse(name, "neither a file nor a folder")

    def _refuse(self, name: str, detail: str) -> None:
        self.listing.refusals.append(Refusal(printable(name), "unreadable", detail))


def _mode(path: str) -> int:
    """What lies at a path, by its mode; 0 where nothing can be reached."""
    try:
        return Path(path).stat().st_mode
    except OSError:
        return 0


def _may_be_wanted(name: str) -> bool:
    """Whether a name that leads to no file may have been that of an image."""
    return has_suffix(Path(name)) or not form_of(name)

"""What a file turns out to be that is never what was asked for, told by how it begins, and what to do about it."""

HEAD = 512  # bytes that tell
_WEB_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")  # of which one stands behind comments, too
_LFS = b"version https://git-lfs"


def mistaken(head: bytes) -> str | None:
    """What stands in for a file that was not fetched, with the fix; None for all others."""
    if not head:
        return "it is empty (0 bytes); fetch it again"
    if head.startswith(_LFS):
        return "it is a Git LFS pointer, not the file itself; run git lfs pull in its repository, or download the file"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<") and any(tag in text for tag in _WEB_PAGES):
        return "it is a web page, as of a failed download; fetch the file itself"
    return None

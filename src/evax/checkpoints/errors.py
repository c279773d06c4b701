"""What is raised for a weight file; without torch, so that a command can catch it before there is need of torch."""


class WeightsError(Exception):
    """A file is not usable as weights; one line that names the file, the first names in it and the fix."""

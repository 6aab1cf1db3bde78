"""The versions of what made a golden file; every file carries them."""
import importlib.metadata
import platform


def versions(*packages):
    found = {"python": platform.python_version()}
    for p in packages:
        try:
            found[p] = importlib.metadata.version(p)
        except importlib.metadata.PackageNotFoundError:
            found[p] = __import__(p).__version__
    return found

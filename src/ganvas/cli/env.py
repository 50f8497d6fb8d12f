"""`ganvas env`"""

from ganvas.cli import _shared


def run(*, json: bool = False) -> None:
    """Show what ganvas runs on, where its cache is, and the variables of the environment that it reads.

    Put it into a report of something odd: paths are shown, nothing else of yours.

    Args:
        json: Print JSON.
    """
    from ganvas.environment import facts
    from ganvas.errors import counted

    found = facts()
    if json:
        _shared.answer(found)
        return
    _shared.say("  ".join(f"{name} {number}" for name, number in found["versions"].items()))
    _shared.say(f"{found['platform']}, {found['program']}")
    name = f" ({found['device_name']})" if found["device_name"] else ""
    _shared.say(f"device: {found['device']}{name}, {counted(found['threads'], 'CPU thread')}")
    _shared.say(f"cache: {found['cache']}{'' if found['cache_writable'] else ' (cannot be written)'}\n")
    for variable, about in found["variables"].items():
        value = "not set" if about["value"] is None else about["value"]
        default = f" [{about['default']}]" if about["default"] else ""
        _shared.say(f"{variable:<21}  {value:<9}  {about['meaning']}{default}")

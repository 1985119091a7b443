"""What schemathesis is told besides the description: ids of things that are there, for most of its right requests."""

import json
import os
import zlib

import schemathesis

with open(os.environ["RIGWIRE_IDS"], encoding="utf-8") as file:
    IDS = json.load(file)


def ids_for(path):
    """Ids of what is named by the segment before the parameter; of those that a deed may use up, where it has its own."""
    before, _, after = path.partition("/{")
    kind = before.rsplit("/", 1)[-1]
    return IDS.get(f"{kind}/{after.rpartition('/')[2]}") or IDS.get(kind, [])


def is_right(case, location):
    """Whether this part of the request is meant to be right; a wrong one must stay as wrong as it is."""
    if case.meta is None or case.meta.generation.mode.is_positive:
        return True
    component = next((info for place, info in case.meta.components.items() if str(place.value) == location), None)
    return component is not None and component.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    known = ids_for(case.operation.path)
    if not known or not case.path_parameters or not is_right(case, "path"):
        return
    chance = zlib.crc32(repr((case.operation.label, case.path_parameters, case.query, case.body)).encode())
    if chance % 4 == 0:
        return
    for name in list(case.path_parameters)[:1]:
        case.path_parameters[name] = known[chance // 4 % len(known)]

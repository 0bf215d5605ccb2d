"""The part of `benchmarks/gimp.py` that runs inside GIMP, in GIMP's own Python: times one run, phase by phase.

    gimp_batch.py RESULT.json PLUGIN_FOLDER COMMAND.json REPEATS SIDE...

The phases are those after OK: the worker has been started before the dialog, as the plug-in does it.
"""

import json
import random
import sys
import time
from pathlib import Path

from gi.repository import Gegl, Gimp

result_file, plugin, commands = (Path(argument) for argument in sys.argv[1:4])
repeats, *sides = (int(argument) for argument in sys.argv[4:])
sys.path.insert(0, str(plugin))

from tinysr_gimp.enlarge import enlarge  # noqa: E402  # the path above leads to it
from tinysr_gimp.worker_client import Worker  # noqa: E402

READING_THE_DIALOG = 4.0
LOG = Path(Gimp.directory()) / "benchmark.log"


def picture(side):
    image = Gimp.Image.new(side, side, Gimp.ImageBaseType.RGB)
    layer = Gimp.Layer.new(image, "face", side, side, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL)
    image.insert_layer(layer, None, 0)
    values = random.Random(0).randbytes(4 * side * side)
    layer.get_buffer().set(Gegl.Rectangle.new(0, 0, side, side), "R'G'B'A u8", values)
    layer.get_buffer().flush()
    layer.update(0, 0, side, side)
    return image, layer


def after_ok(command, side):
    """Seconds from OK to the picture, for a layer of side x side pixels, twice as large into a new image."""
    image, layer = picture(side)
    config = Gimp.get_pdb().lookup_procedure("plug-in-tinysr").create_config()
    with Worker(command, LOG) as worker:
        worker.hello()
        time.sleep(READING_THE_DIALOG)
        start = time.perf_counter()
        new = enlarge(worker, image, [layer], config)
        seconds = time.perf_counter() - start
    assert new.get_width() == 2 * side
    new.delete()
    image.delete()
    return seconds


def whole_call(side):
    """Seconds of a call through the PDB, the start of the worker included."""
    image, layer = picture(side)
    procedure = Gimp.get_pdb().lookup_procedure("plug-in-tinysr")
    config = procedure.create_config()
    config.set_property("image", image)
    config.set_core_object_array("drawables", [layer])
    start = time.perf_counter()
    values = procedure.run(config)
    seconds = time.perf_counter() - start
    assert values.index(0) == Gimp.PDBStatusType.SUCCESS, values.index(1)
    values.index(1).delete()
    image.delete()
    return seconds


def hello(command):
    start = time.perf_counter()
    with Worker(command, LOG) as worker:
        worker.hello()
        return time.perf_counter() - start


real, idle = json.loads(commands.read_text())
found = {"version": Gimp.version(), "hello": [hello(real) for _ in range(repeats)], "sides": {}}
for side in sides:
    found["sides"][side] = {
        "after OK": [after_ok(real, side) for _ in range(repeats)],
        "beside the network": [after_ok(idle, side) for _ in range(repeats)],
        "whole call": [whole_call(side) for _ in range(repeats)],
    }
result_file.write_text(json.dumps(found))

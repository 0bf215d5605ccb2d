"""The part of `benchmarks/gimp.py` that runs inside GIMP, in GIMP's own Python. It times one run, phase by phase.

    gimp_batch.py TASK.json RESULT.json

The phases start at OK. As in the plug-in, the worker starts before the dialog opens.
"""

import json
import os
import random
import sys
import time
from array import array
from pathlib import Path

from gi.repository import Gegl, Gimp

task_file, result_file = (Path(argument) for argument in sys.argv[1:])
task = json.loads(task_file.read_text())
real, idle, repeats = task["real"], task["idle"], task["repeats"]
sys.path.insert(0, task["plugin"])

from tinysr_gimp.enlarge import enlarge  # noqa: E402  # the path above leads to it
from tinysr_gimp.options import Options  # noqa: E402
from tinysr_gimp.worker_client import Runtime, Worker  # noqa: E402

READING_THE_DIALOG = 4.0
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""Variables that keep oneDNN and torch from newer instructions."""
LOG = Path(Gimp.directory()) / "benchmark.log"


def picture(width, height, kind=Gimp.ImageType.RGBA_IMAGE):
    image = Gimp.Image.new(width, height, Gimp.ImageBaseType.RGB)
    layer = Gimp.Layer.new(image, "face", width, height, kind, 100, Gimp.LayerMode.NORMAL)
    image.insert_layer(layer, None, 0)
    buffer = layer.get_buffer()
    for y in range(0, height, 64):
        rows = min(64, height - y)
        values = random.Random(y).randbytes(4 * width * rows)
        buffer.set(Gegl.Rectangle.new(0, y, width, rows), "R'G'B'A u8", values)
    buffer.flush()
    layer.update(0, 0, width, height)
    return image, layer


def options():
    return Options.of(Gimp.get_pdb().lookup_procedure("plug-in-tinysr").create_config())


def after_ok(command, side):
    """Seconds from OK to the picture, for a layer of side x side pixels that is doubled into a new image."""
    image, layer = picture(side, side)
    with Worker(Runtime(tuple(command)), LOG) as worker:
        worker.hello()
        time.sleep(READING_THE_DIALOG)
        start = time.perf_counter()
        new = enlarge(worker, image, [layer], options())
        seconds = time.perf_counter() - start
    assert new.get_width() == 2 * side
    new.delete()
    image.delete()
    return seconds


def whole_call(side):
    """Seconds of a call through the PDB, including the start of the worker."""
    image, layer = picture(side, side)
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
    with Worker(Runtime(tuple(command)), LOG) as worker:
        worker.hello()
        return time.perf_counter() - start


def previews(environment):
    """Seconds from a change of a setting to the pixels of the preview."""
    os.environ.update(environment)
    crop = random.Random(0).randbytes(256 * 256 * 3)
    floats = array("f", (value / 255 for value in crop)).tobytes()
    size = {"width": 256, "height": 256, "channels": 3, "result_width": 512, "result_height": 512}
    network = options().network | {"factor": 2}
    with Worker(Runtime(tuple(real)), LOG) as worker:
        worker.hello()

        def preview(**changed):
            start = time.perf_counter()
            for request in ({"type": "resize"}, {"type": "preview"} | network | changed):
                b"".join(worker.compute(request | size, [floats], lambda share: None).strips)
            return time.perf_counter() - start

        preview()
        shares = [number / 100 for number in range(repeats)]
        found = {
            "same": [preview() for _ in range(repeats)],
            "detail": [preview(detail=share) for share in shares],
            "clean": [preview(clean=share) for share in shares],
        }
    for name in environment:
        del os.environ[name]
    return found


def memory(command, width, height, count=1):
    """Peak megabytes of this process, which does the work of the plug-in, and of the worker, for `count` layers."""
    image, layer = picture(width, height, Gimp.ImageType.RGB_IMAGE)
    layers = [layer, *(layer.copy() for _ in range(count - 1))]
    for copy in layers[1:]:
        image.insert_layer(copy, None, 0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    with Worker(Runtime(tuple(command)), LOG) as worker:
        worker.hello()
        enlarge(worker, image, layers, options()).delete()
        peaks = {"plug-in": peak("self"), "worker": peak(worker._process.pid)}
    image.delete()
    megapixels = width * height / 2**20
    floats = {"picture": round(megapixels * 12), "result": round(megapixels * 48)}
    return {"layers": f"{count} of {width} x {height}"} | peaks | floats


def peak(process):
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


found = {"version": Gimp.version()}
if task["what"] == "times":
    found["hello"] = [hello(real) for _ in range(repeats)]
    found["sides"] = {
        side: {
            "after OK": [after_ok(real, side) for _ in range(repeats)],
            "beside the network": [after_ok(idle, side) for _ in range(repeats)],
            "whole call": [whole_call(side) for _ in range(repeats)],
        }
        for side in task["sides"]
    }
    found["previews"] = {"all instructions": previews({}), "AVX2 at most": previews(AVX2)}
else:
    found["memory"] = [memory(real, 8000, 6000), memory(real, 3000, 2000), memory(idle, 3000, 2000, count=20)]
result_file.write_text(json.dumps(found))

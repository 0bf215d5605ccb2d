"""Two GIMPs of one user, and in each the plug-in, at the same time."""

import os
import subprocess
from pathlib import Path

from helper import FOLDER, add_layer, enlarge, image_of, save

HERE = Path(__file__).parent
CHILD = f"""
import sys; sys.argv = ['parallel', {str(FOLDER / "second")!r}]; sys.path.insert(0, {str(HERE)!r})
import gi
gi.require_version('Gegl', '0.4'); gi.require_version('Babl', '0.1')
from gi.repository import Gegl; Gegl.init(None)
import helper
image = helper.image_of(300, 200)
layer = helper.add_layer(image, 300, 200, alpha=True, seed=2)
helper.save(layer, helper.enlarge(image, [layer])[1][0])
"""
(FOLDER / "second").mkdir()
second = subprocess.Popen(
    ["gimp-console-3", "-i", "-d", "--quit", "--batch-interpreter=python-fu-eval", "-b", CHILD], env=os.environ
)
for seed in (3, 4):
    image = image_of(300, 200)
    layer = add_layer(image, 300, 200, alpha=True, seed=seed)
    save(layer, enlarge(image, [layer])[1][0])
second.wait()
assert (FOLDER / "second" / "cases.jsonl").exists()

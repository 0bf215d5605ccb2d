"""A worker that is not there, is broken, or is killed: an error that says what to do, and an image as it was."""

import json
import os
import signal
import threading
import time
from pathlib import Path

from helper import EXECUTION_ERROR, FOLDER, SUCCESS, Gimp, add_layer, image_of, native, run

RUNTIME = Path(Gimp.directory()) / "plug-ins" / "tinysr-gimp" / "runtime.json"
GOOD = RUNTIME.read_text()
LOG = Path(Gimp.directory()) / "tmp" / "tinysr.log"
PATIENCE = 30
"""Seconds in which a process has to end."""


def processes(word):
    """Process numbers by a word of their command lines; not this process, whose own words are others."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass  # it ended meanwhile
    return found


def workers():
    return processes("tinysr_core.gimp.worker")


def command(text):
    """Let the plug-in start a shell script instead of the worker."""
    script = FOLDER / "worker.sh"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    RUNTIME.write_text(json.dumps({"version": "0", "command": [str(script)]}))


def fails(image, layer, *words, **arguments):
    pixels, width = native(layer), image.get_width()
    image.clean_all()
    status, message = run(image, [layer], **arguments)
    assert status == EXECUTION_ERROR, (status, message)
    for word in words:
        assert word in message, message
    assert not image.is_dirty()
    assert image.get_layers() == [layer]
    assert (image.get_width(), native(layer)) == (width, pixels)
    assert not workers()


image = image_of(24, 18)
layer = add_layer(image, 24, 18)

RUNTIME.unlink()
fails(image, layer, "Python for TinySR is unknown", "tinysr gimp install")
RUNTIME.write_text("{")
fails(image, layer, "is damaged", "tinysr gimp install")
RUNTIME.write_text(json.dumps({"version": "0", "command": ["/no/such/python"]}))
fails(image, layer, "does not exist: /no/such/python", "tinysr gimp install")
RUNTIME.write_text(json.dumps({"version": "0", "command": [str(RUNTIME)]}))
fails(image, layer, "could not be started")
command("echo no module named tinysr_core >&2; exit 1")
fails(image, layer, "did not start", "status 1", "tinysr gimp install", str(LOG))
assert "no module named tinysr_core" in LOG.read_text()
command("echo 'Python 2.7'; sleep 60")
fails(image, layer, "unknown message", str(LOG))
command("""echo '{"type": "hello", "protocol": 9, "version": "9.0", "location": "/opt/tinysr"}'; sleep 60""")
fails(image, layer, "different versions", "9.0", "/opt/tinysr")
hello = '{"type": "hello", "protocol": 3, "version": "9.0", "location": "/", "models": [], "damaged": []}'
command(f"echo '{hello}'; exit 3")
fails(image, layer, "status 3")
done = '{"type": "done", "width": 48, "height": 36, "channels": 3, "clipped": false, "networks": []}'
command(f"echo '{hello}'; echo '{done}'; echo too little")
fails(image, layer, "stopped unexpectedly")
command(f"""echo '{hello}'; echo '{{"type": "done"}}'; sleep 60""")
fails(image, layer, "unknown message")

# a real worker again; a picture that takes it long
RUNTIME.write_text(GOOD)
status, value = run(image, [layer])
assert status == SUCCESS, value
image = image_of(900, 900)
layer = add_layer(image, 900, 900)


def when_computing(action):
    """Do `action` from a thread, some seconds after the worker has come up."""

    def wait():
        while not workers():
            time.sleep(0.05)
        time.sleep(4)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


thread = when_computing(lambda: os.kill(workers()[0], signal.SIGKILL))
fails(image, layer, "stopped unexpectedly", "status -9", model="slow", output="scale-image")
thread.join()


def end(kill, image, layer):
    """Let `kill` end the plug-in while it computes; its worker must end too, the image stay as it was."""
    gone = []

    def action():
        (worker,) = workers()
        leader = os.getpgid(worker)
        assert leader in processes("tinysr-gimp.py")
        kill(leader, signal.SIGKILL)
        limit = time.monotonic() + PATIENCE
        while worker in workers() and time.monotonic() < limit:  # a zombie has no command line
            time.sleep(0.01)
        gone.append(worker not in workers())

    pixels = native(layer)
    image.clean_all()
    thread = when_computing(action)
    status, _ = run(image, [layer], model="slow", output="scale-image")
    thread.join()
    assert status != SUCCESS
    assert gone == [True]
    assert not image.is_dirty()
    assert (image.get_layers(), image.get_width(), native(layer)) == ([layer], 900, pixels)


end(os.killpg, image, layer)  # GIMP's Cancel kills the group that the plug-in leads
end(os.kill, image, layer)  # a crash of the plug-in alone: the worker notices that its pipe has ended

# and the next call works, even without a log: Windows refuses to open a file that another program has open
LOG.unlink()
LOG.mkdir()
image = image_of(24, 18)
status, value = run(image, [add_layer(image, 24, 18)])
assert status == SUCCESS, value

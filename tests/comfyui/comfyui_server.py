"""A real ComfyUI server on loopback, driven over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
Workflow = dict[str, dict[str, Any]]


class Server:
    """Runs the ComfyUI in `checkout` with the pack linked into its custom nodes under `pack_name`."""

    def __init__(self, checkout: str, base: Path, pack_name: str = "ComfyUI-TinySR") -> None:
        self.base = base
        for folder in ("custom_nodes", "input", "output", "temp", "user", "models/tinysr", "models/upscale_models"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        (base / "custom_nodes" / pack_name).symlink_to(ROOT)
        (base / "custom_nodes" / "tensor_files").symlink_to(Path(__file__).parent / "tensor_files")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        port = self.url.rsplit(":", 1)[1]
        self.log = base / "comfyui.log"
        command = [sys.executable, "-u", "main.py", "--listen", "127.0.0.1", "--port", port]
        command += ["--base-directory", str(base), "--database-url", "sqlite:///:memory:", "--disable-auto-launch"]
        command += ["--disable-api-nodes", "--log-stdout"] + ([] if torch.cuda.is_available() else ["--cpu"])
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=checkout, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "HOME": str(base)}
            )
        self._wait_until_ready()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        """Raises RuntimeError with ComfyUI's answer where it refuses."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error

    def start(self, workflow: Workflow) -> str:
        """Queue a workflow in API format; returns its id.

        Raises:
            RuntimeError: a node was refused. (ComfyUI itself runs what does not depend on it.)
        """
        answer = self.post("/prompt", {"prompt": workflow})
        if answer["node_errors"]:
            raise RuntimeError(json.dumps(answer["node_errors"]))
        return answer["prompt_id"]

    def finish(self, prompt: str, limit: float = 900) -> list[Path]:
        """Wait for a queued workflow; returns the files it made.

        Raises:
            RuntimeError: it failed or was cancelled.
        """
        end = time.monotonic() + limit
        while time.monotonic() < end:
            history = self.get(f"/history/{prompt}").get(prompt)
            if history is not None:
                break
            assert self.process.poll() is None, f"ComfyUI died: {self.log.read_text()[-3000:]}"
            time.sleep(0.1)
        else:
            raise TimeoutError(f"the workflow took longer than {limit} s")
        if history["status"]["status_str"] != "success":
            raise RuntimeError(json.dumps(history["status"]["messages"]))
        items = (item for output in history["outputs"].values() for kind in output.values() for item in kind)
        files = [item for item in items if isinstance(item, dict) and "filename" in item]
        return [self.base / f.get("type", "output") / f.get("subfolder", "") / f["filename"] for f in files]

    def run(self, workflow: Workflow, limit: float = 900) -> list[Path]:
        return self.finish(self.start(workflow), limit)

    def _wait_until_ready(self) -> None:
        for _ in range(1500):
            assert self.process.poll() is None, f"ComfyUI did not start: {self.log.read_text()[-3000:]}"
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("ComfyUI was not ready after 300 s")

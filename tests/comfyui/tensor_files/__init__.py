"""Two ComfyUI nodes for the tests: tensors come from and go to .npy files, since picture files hold only 8 bits."""

from pathlib import Path

import folder_paths
import numpy as np
import torch


class LoadTensor:
    CATEGORY = "testing"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"name": ("STRING", {})}}

    def load(self, name):
        return (torch.from_numpy(np.load(Path(folder_paths.get_input_directory()) / name)),)


class SaveTensor:
    CATEGORY = "testing"
    RETURN_TYPES = ()
    FUNCTION = "save"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"name": ("STRING", {}), "tensor": ("IMAGE,MASK", {})}}

    def save(self, name, tensor):
        np.save(Path(folder_paths.get_output_directory()) / name, tensor.cpu().numpy())
        return {"ui": {"tensors": [{"filename": name, "type": "output", "subfolder": ""}]}}


NODE_CLASS_MAPPINGS = {"TestLoadTensor": LoadTensor, "TestSaveTensor": SaveTensor}

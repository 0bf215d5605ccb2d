"""ComfyUI nodes for the tests: tensors from and to .npy files, since picture files hold only 8 bits; any value."""

import json
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


class AnyType(str):
    """A type that ComfyUI takes for every other."""

    def __ne__(self, other):
        return False


class Value:
    CATEGORY = "testing"
    RETURN_TYPES = (AnyType("*"),)
    FUNCTION = "value"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING", {})}}

    def value(self, text):
        return (json.loads(text),)


NODE_CLASS_MAPPINGS = {"TestLoadTensor": LoadTensor, "TestSaveTensor": SaveTensor, "TestValue": Value}

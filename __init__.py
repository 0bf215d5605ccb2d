"""What ComfyUI loads: the nodes, their help pages, and the architecture that the stock nodes need."""

if __package__:  # empty where pytest imports this file from a clone in a folder that is no Python name
    from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
    from .nodes.host import prepare
    from .nodes.interop import register_architecture

    WEB_DIRECTORY = "./web"
    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]

    prepare(__file__, next(iter(NODE_CLASS_MAPPINGS)))
    register_architecture()

"""Habits of other frameworks: what users of PyTorch or Keras look for on a layer, and what it is here."""

from __future__ import annotations

_ROWS = (
    (
        "parameters named_parameters state_dict weights trainable_weights get_weights",
        "model.state() gives copies of all arrays, by path; bm.compile and bm.Trainer take the model itself.",
    ),
    ("load_state_dict set_weights load_weights", "set arrays by path: model.load_state(state)."),
    (
        "train eval",
        "there is nothing to switch: a call computes as in inference, a step as in training; inside"
        " __call__, a layer asks self.training.",
    ),
    (
        "zero_grad backward",
        "gradients are not kept, so none are cleared: step = bm.compile(model, loss, optimizer), and each"
        " step(x, y) computes and applies them.",
    ),
    (
        "requires_grad_ trainable",
        'freeze it: bm.compile(..., freeze="dense_1/*"), or bm.layers.Frozen(layer).',
    ),
    ("to cpu cuda", 'build it for the device: model.build(spec, device="cuda").'),
    ("double float half", 'build it with the number type: model.build(spec, dtype="float64").'),
    (
        "compile fit train_on_batch",
        'train it with a trainer: bm.Trainer(model, "cross_entropy").fit((x, y)).',
    ),
    ("evaluate", 'a trainer measures it: bm.Trainer(model, "cross_entropy").evaluate((x, y)).'),
    ("forward call predict", "call it: model(x)."),
    ("modules named_modules children get_layer", 'layers inside are found by path: model.part("dense_1").'),
    ("add append add_module", "make another one of its layers: bm.Sequential(*model.layers, layer)."),
    ("count_params", "count them: model.summary().parameters."),
    ("add_weight register_buffer register_parameter", "ask for it in __call__: self.parameter(name, shape)."),
    ("save save_weights", "write it to a file: bm.save(model, path)."),
    ("export", "write it to a file: bm.export(model, path)."),
)

ADVICE = {name: text for names, text in _ROWS for name in names.split()}
"""What to write instead, by the name of the attribute."""

"""Whether a gateway answers as its engine does: the same requests to both, answers compared field by field.

    python -m loadtest.fidelity --engine http://127.0.0.1:8000 --engine-model base \\
        --gateway http://127.0.0.1:8080 --key sk-… --model base

Each shape of a request (`shapes/`) goes to the engine, then through the gateway. Every answer becomes a document
(`exchanges.py`; a stream is folded into one, see `folding.py`), and two documents are compared to the last field
(`differences.py`). A difference is either explained by a rule that says why it must be so (`rules.py`, or the shape's
own), or it is a fault of the gateway and is printed. The last line of stdout is one JSON document.

Give the gateway a model that answers as the engine's: the base model, or an adapter and its name on the engine. Nothing
else may ask the engine meanwhile, as answers of a real one depend on what shares their batch in the last digits.
"""

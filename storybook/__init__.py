"""The bundled model's world: scenes, drawing, captions, training, judge. Only `evaluate` knows p2p_core."""

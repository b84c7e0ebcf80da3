"""The bundled encoder-decoders: two small T5, one for each setting of EUL."""

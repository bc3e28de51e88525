"""CharRNN: vocabulary, corpus, training, versions and the engine. Knows nothing of Django."""

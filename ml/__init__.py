"""CharRNN: vocabulary, corpus, training, checkpoints, export and the inference engine. Knows nothing of Django."""

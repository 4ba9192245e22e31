"""A batch of packed documents with masked targets, as a dataset and as transformers takes it. Needs no package.

    documents   lists of ids
    targets     for each document: for each token, whether it is a target
    length      tokens of a sequence
    sequences   the documents of each; they fill it, or leave room for padding"""
import random

# Positions that the documents of a sequence take: one less than their tokens, because the last token is only a target. Best-fit decreasing
# (trainer/data/packing_plan.h) packs them so, too. The last sequence is padded.
LENGTH, SEQUENCES = 24, [[14, 10], [24], [15, 9], [8, 7, 5]]
IGNORED = -100


def draw(vocabulary, seed):
    """Targets lie unevenly: the last token of the documents of the first sequence, all tokens of those of the last, single tokens between."""
    random_of = random.Random(seed)
    documents, targets, sequences = [], [], []
    for number, positions in enumerate(SEQUENCES):
        sequences.append(list(range(len(documents), len(documents) + len(positions))))
        for count in positions:
            documents.append(random_of.choices(range(1, vocabulary), k=count + 1))  # 0 is the padding token
            chosen = {0: [count], 3: range(count + 1)}.get(number, random_of.sample(range(1, count + 1), 3))
            targets.append([token in chosen for token in range(count + 1)])
    return {"documents": documents, "targets": targets, "length": LENGTH, "sequences": sequences}


def rows_of(batch):
    """tokens, labels (of the next token, IGNORED where it is no target) and positions in the document: [sequences, length] each."""
    rows = {"tokens": [], "labels": [], "positions": []}
    for sequence in batch["sequences"]:
        row = {key: [] for key in rows}
        for document in sequence:
            ids, targets = batch["documents"][document], batch["targets"][document]
            row["tokens"] += ids[:-1]
            row["labels"] += [ids[token] if targets[token] else IGNORED for token in range(1, len(ids))]
            row["positions"] += range(len(ids) - 1)
        padding = batch["length"] - len(row["tokens"])
        row["tokens"] += [0] * padding
        row["labels"] += [IGNORED] * padding
        row["positions"] += range(padding)
        for key, values in row.items():
            rows[key].append(values)
    return rows

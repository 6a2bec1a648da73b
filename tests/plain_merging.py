"""Greedy merging in plain loops over numbers, which compares all pairs: what `keras_vgg.localisation.merging` has to equal."""


def match_score(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    across, down = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    x, y = (a[0] + a[2]) - (b[0] + b[2]), (a[1] + a[3]) - (b[1] + b[3])
    diagonal = 4.0 * (across * across + down * down)
    return 1.0 - (shared / union if union > 0 else 0.0) + ((x * x + y * y) / diagonal if diagonal > 0 else 0.0)


def merge(boxes, weights, threshold):
    """Returns `[[box, weight, count], ...]`, the largest weight first."""
    distinct = []
    for (a, b, c, d), weight in zip(boxes, weights, strict=True):
        box = [min(a, c), min(b, d), max(a, c), max(b, d)]
        for other in distinct:
            if other[0] == box:
                other[1] += weight
                other[2] += 1
                break
        else:
            distinct.append([box, weight, 1])
    left = dict(enumerate(distinct))
    scores = {(i, j): match_score(left[i][0], left[j][0]) for i in left for j in left if i < j}
    while scores:
        score, first, second = min((score, *pair) for pair, score in scores.items())
        if score > threshold:
            break
        (a, weight, count), (b, other_weight, other_count) = left[first], left.pop(second)
        both = weight + other_weight
        part = other_weight / both if both > 0 else 0.5
        left[first] = [[x + (y - x) * part for x, y in zip(a, b, strict=True)], both, count + other_count]
        scores = {pair: score for pair, score in scores.items() if second not in pair}
        for other in left.keys() - {first}:
            scores[min(first, other), max(first, other)] = match_score(left[first][0], left[other][0])
    return sorted((left[place] for place in sorted(left)), key=lambda entry: -entry[1])

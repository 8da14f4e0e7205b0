#!/usr/bin/env python3
"""Compares what the f64 definition of every op makes of NaN and infinity with PyTorch.

    pip install torch
    VISTA_TABLE=table.jsonl cargo test --release --test engine nonfinite
    python tests/nonfinite/check.py table.jsonl

In f64, as the definition is. Each row of the table is one NaN, infinity or fraction put at one place of an input or of the upstream gradient. Values and
gradients must be NaN, infinite or finite at the same elements. Prints the rows that differ, and those it takes for known
by KNOWN; exits with 1 where another differs or a known kind no longer does.
"""

import json
import re
import sys

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
INF = float("inf")

# Where Vista differs, and why: rows whose name begins so.
KNOWN = {
    r"update/adam.* input2 -?inf": "PyTorch moves m by a share of g - m, NaN where m is infinite",
    r"batch_norm/.* input1 -?inf": "PyTorch's CPU, not its GPU, multiplies the mean by gamma before it takes it off",
    r"norm_conv2d/.* input2 -?inf": "the same",
    r"bce_with_logits/.* input[01] -?inf": "infinite logits and targets: PyTorch adds (1 - y) x and a softplus",
    r"bce_with_logits/large logits dy -?inf": "sigmoid(x) - 1 cancels to 0, which PyTorch multiplies by infinity",
    r"bilinear_resize/": "a pixel of weight 0 is not read: a resize to the same size changes no bit",
    r"(conv2d|norm_conv2d)/.* input1 (NaN|-?inf)": "zeros around dy are multiplied by the weight here",
    r"knn_softmax/.* (input0|dy) ": "rows of one kind alone and infinite negatives, until it is a composition",
    r"smooth_ap/.* dy -?inf": "s (1 - s) of a sigmoid cancels to 0, which PyTorch multiplies by infinity",
    r"top_k/.* NaN": "NaN ranks below everything here, above everything there",
}


def attributes(text):
    """The fields of a struct as Rust prints it, nested ones too."""
    fields = {}
    for name, value in re.findall(r"(\w+): (\[[^\]]*\]|[\w.e-]+)", text):
        value = value.replace("true", "True").replace("false", "False")
        try:
            fields[name] = eval(value, {}, {})
        except NameError:
            fields[name] = value
    return fields


def flag(text, name):
    return attributes(text).get(name, False)


def batch_norm(x, gamma, beta, groups, eps, relu, residual=None):
    shape = x.shape
    flat = x.reshape(groups, -1, shape[-1])
    parts = [F.batch_norm(part, None, None, gamma, beta, True, 0.0, eps) for part in flat]
    y = torch.stack(parts).reshape(shape)
    if residual is not None:
        y = y + residual
    return F.relu(y) if relu else y


def statistics(x, groups):
    flat = x.reshape(groups, -1, x.shape[-1])
    return flat.mean(1), flat.var(1, unbiased=False)


def coefficients(x, gamma, beta, a):
    mean, var = statistics(x, a["groups"])
    scale = gamma / torch.sqrt(var + a["eps"])
    return torch.stack([mean, var, scale, beta.expand_as(scale)])


def given(gamma, beta, mean, var, eps):
    return torch.stack([mean, var, gamma / torch.sqrt(var + eps), beta])[:, None]


def conv(x, w, a, bias=None):
    y = F.conv2d(x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), bias, a["stride"], a["padding"], a["dilation"])
    return y.permute(0, 2, 3, 1)


def normalize(x, coefficients, relu, residual=None):
    mean, _, scale, shift = coefficients
    groups, c = mean.shape
    flat = x.reshape(groups, -1, c)
    y = ((flat - mean[:, None]) * scale[:, None] + shift[:, None]).reshape(x.shape)
    if residual is not None:
        y = y + residual
    return F.relu(y) if relu else y


def smooth_ap(s, views, tau):
    n = s.shape[0]
    total = 0
    for q in range(n):
        first = q - q % views
        image = list(range(first, first + views))
        others = [j for j in range(n) if j not in image]
        for i in (i for i in image if i != q):
            rest = [j for j in image if j not in (i, q)]
            rank = 1 + torch.sigmoid((s[q, rest] - s[q, i]) / tau).sum()
            over = torch.sigmoid((s[q, others] - s[q, i]) / tau).sum()
            total = total + rank / (rank + over)
    return 1 - total / (n * (views - 1))


def whole(index, bound):
    return ((index >= 0) & (index < bound) & (index == index.floor())).to(bool)


def cross_entropy(x, labels):
    # A label that is no column gives NaN by definition: PyTorch has no such labels.
    named = whole(labels, x.shape[1])
    rows = F.cross_entropy(x, torch.where(named, labels, 0).long(), reduction="none")
    return (rows * torch.where(named, 1.0, float("nan"))).mean()


def knn_softmax(x, labels):
    losses = []
    for row, label in zip(x, labels):
        positive = label > 0
        if not positive.any() or positive.all():
            # Nothing to compare with: the loss is 0, and so is each gradient.
            losses.append((row[positive] * 0).sum() if positive.any() else torch.zeros(()))
            continue
        losses.append(F.softplus(torch.logsumexp(row[~positive], 0) - row[positive]).mean())
    return torch.stack(losses).mean()


def bce(x, t, positives_only):
    return (t * F.softplus(-x)).mean() if positives_only else F.binary_cross_entropy_with_logits(x, t)


def gather_rows(x, index):
    named = whole(index, x.shape[0])
    y = x[torch.where(named, index, 0).long()]
    return torch.where(named.reshape([-1] + [1] * (x.dim() - 1)), y, float("nan"))


def running_stats(inputs, text):
    a = attributes(text)
    running, norms = inputs[0], inputs[1:]
    out, at = [], 0
    for norm, count in zip(norms, a["counts"]):
        for batch, unbias in ((norm[0], 1.0), (norm[1], count / (count - 1))):
            c = batch.shape[1]
            part = running[at : at + c]
            out.append((1 - a["momentum"]) * part + a["momentum"] * unbias * batch.mean(0))
            at += c
    return [torch.cat(out)]


def lars(p, g, buffer, a):
    # As apex.parallel.LARC and SwAV's use of it: the factor is left out where a norm is 0.
    p_norm, g_norm = p.norm(), g.norm()
    factor = torch.ones(())
    if p_norm != 0 and g_norm != 0:
        factor = a["trust"] * p_norm / (g_norm + a["weight_decay"] * p_norm + a["eps"])
    d = factor * (g + a["weight_decay"] * p)
    buffer = d if a["first"] else a["momentum"] * buffer + d
    return [p - a["lr"] * buffer, buffer, factor]


def optimiser(make, p, g, state):
    p = torch.nn.Parameter(p.clone())
    p.grad = g.clone()
    o = make([p])
    o.state[p] = state
    o.step()
    return p.detach(), o.state[p]


def sgd(x, a):
    p, g, buffer = x
    make = lambda ps: torch.optim.SGD(ps, a["lr"], a["momentum"], 0, a["weight_decay"], a["nesterov"], foreach=False)
    p, state = optimiser(make, p, g, {} if a["first"] else {"momentum_buffer": buffer.clone()})
    return [p, state["momentum_buffer"]]


def adam(x, a):
    p, g, m, v = x
    make = lambda ps: torch.optim.Adam(ps, a["lr"], (a["beta1"], a["beta2"]), a["eps"], a["weight_decay"], foreach=False)
    state = {"step": torch.tensor(float(a["step"] - 1)), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
    p, state = optimiser(make, p, g, state)
    return [p, state["exp_avg"], state["exp_avg_sq"]]


def l2_normalize(x):
    return F.normalize(x, dim=-1)


def top_k(x, a):
    values, indices = torch.topk(x, a["k"])
    out = [values, indices.double()]
    if a["labels"]:
        out.append(torch.zeros_like(x).scatter(1, indices, 1.0))
    return out


def forward(op, text, x):
    """All outputs that are compared; the first is the value."""
    a = attributes(text)
    if op == "bce_with_logits":
        return [bce(*x, a["positives_only"])]
    if op == "cross_entropy":
        return [cross_entropy(*x)]
    if op == "softmax":
        return [(F.log_softmax if a["log"] else F.softmax)(x[0], -1)]
    if op == "knn_softmax":
        return [knn_softmax(*x)]
    if op == "map":
        kind, _, constants = text.rstrip(")").partition("(")
        c = [float(v) for v in constants.split(",") if v]
        return [{
            "Add": lambda: x[0] + x[1],
            "Sub": lambda: x[0] - x[1],
            "Mul": lambda: x[0] * x[1],
            "Div": lambda: x[0] / x[1],
            "Max": lambda: torch.maximum(x[0], x[1]),
            "Min": lambda: torch.minimum(x[0], x[1]),
            "Scale": lambda: x[0] * c[0],
            "Offset": lambda: x[0] + c[0],
            "Exp": lambda: x[0].exp(),
            "Log": lambda: x[0].log(),
            "Sqrt": lambda: x[0].sqrt(),
            "Square": lambda: x[0].square(),
            "Abs": lambda: x[0].abs(),
            "Sigmoid": lambda: x[0].sigmoid(),
            "Softplus": lambda: F.softplus(x[0]),
            "Relu": lambda: F.relu(x[0]),
            "Clamp": lambda: x[0].clamp(c[0], c[1]),
        }[kind]()]
    if op == "reduce":
        between = list(range(1, x[0].dim() - 1))
        over = {"All": None, "Row": -1, "Channel": [0, *between][: x[0].dim() - 1], "Pixels": between}[a["over"]]
        if over == []:
            return [x[0] * 1.0]
        reduce = torch.mean if a["mean"] else torch.sum
        return [reduce(x[0]) if over is None else reduce(x[0], over)]
    if op == "matmul":
        y = (x[0].T if a["trans_a"] else x[0]) @ (x[1].T if a["trans_b"] else x[1])
        return [y + x[2] if len(x) > 2 else y]
    if op == "conv2d":
        return [conv(x[0], x[1], a, *x[2:])]
    if op == "smooth_ap":
        return [smooth_ap(x[0], a["views"], a["tau"])]
    if op == "coefficients":
        return [coefficients(x[0], x[1], x[2], a) if "Batch" in text else given(*x, a["eps"])]
    if op == "batch_norm" and "Given" in text:
        y = F.batch_norm(x[0].reshape(-1, x[0].shape[-1]), x[3], x[4], x[1], x[2], False, 0.0, a["eps"])
        y = y.reshape(x[0].shape)
        y = y + x[5] if len(x) > 5 else y
        return [F.relu(y) if a["relu"] else y]
    if op == "batch_norm":
        y = batch_norm(x[0], x[1], x[2], a["groups"], a["eps"], a["relu"], *x[3:])
        return [y, coefficients(x[0], x[1], x[2], a)]
    if op == "norm_conv2d" and "Given" in text:
        return [conv(normalize(x[0], given(*x[2:], a["eps"]), True), x[1], a)]
    if op == "norm_conv2d":
        return [conv(batch_norm(x[0], x[2], x[3], a["groups"], a["eps"], True), x[1], a)]
    if op == "conv_statistics":
        vectors = 4 if "Given" in text else 2
        before = x[2 + vectors :]
        y = conv(normalize(x[0], before[0], True) if before else x[0], x[1], a)
        return [y, given(*x[2:6], a["eps"]) if vectors == 4 else coefficients(y, x[2], x[3], a)]
    if op == "normalize":
        return [normalize(x[0], x[1], a["relu"], *x[2:])]
    if op == "max_pool":
        y = F.max_pool2d(x[0].permute(0, 3, 1, 2), a["kernel"], a["stride"], a["padding"])
        return [y.permute(0, 2, 3, 1)]
    if op == "l2_normalize":
        return [l2_normalize(x[0])]
    if op == "gather_rows":
        return [gather_rows(*x)]
    if op == "concat":
        return [torch.cat([t.reshape(-1, t.shape[-1]) for t in x], 1).reshape(*x[0].shape[:-1], -1)]
    if op == "bilinear_resize":
        y = F.interpolate(x[0].permute(0, 3, 1, 2), size=a["size"], mode="bilinear", align_corners=False)
        return [y.permute(0, 2, 3, 1)]
    if op == "sum_parts":
        return [t.sum(0) for t in x]
    if op == "top_k":
        return top_k(x[0], a)
    if op == "match_cells":
        n, p, _ = x[0].shape
        return [(x[0] @ x[1].transpose(1, 2)).argmax(2) + torch.arange(n)[:, None] * p]
    if op == "update":
        return {
            "Sgd": lambda: sgd(x, a),
            "Adam": lambda: adam(x, a),
            "Lars": lambda: lars(*x, a),
            "Ema": lambda: [a["momentum"] * x[0] + (1 - a["momentum"]) * x[1]],
            "Running": lambda: running_stats(x, text),
        }[text.split(" ")[0]]()
    if op == "half":
        # Nothing finite becomes infinite.
        return [torch.where(x[0].isfinite(), x[0].clamp(-65504, 65504), x[0]).half().double()]
    raise KeyError(op)


def classes(t):
    t = t.detach().double().reshape(-1)
    return "".join("n" if v != v else "+" if v == INF else "-" if v == -INF else "." for v in t.tolist())


def torch_row(case, row):
    values = [list(v) for v in case["values"]]
    dy = list(case["dy"])
    at, value = row["at"], float(row["value"])
    (values[row["input"]] if row["input"] < len(values) else dy)[at] = value
    x = [torch.tensor(v, dtype=torch.float64).reshape(s) for v, s in zip(values, case["shapes"])]
    gradients = [name for name, _ in row["outputs"] if name.startswith("grad")]
    for name in gradients:
        x[int(name[4:])].requires_grad_()
    y = forward(case["op"], case["attributes"], x)
    found = {f"out{i}": classes(t) for i, t in enumerate(y)}
    if gradients:
        y[0].backward(torch.tensor(dy, dtype=torch.float64).reshape(y[0].shape))
        for name in gradients:
            grad = x[int(name[4:])].grad
            found[name] = classes(grad) if grad is not None else "." * x[int(name[4:])].numel()
    return found


def main():
    rows, unexpected, met = 0, 0, {pattern: 0 for pattern in KNOWN}
    for line in open(sys.argv[1]):
        case = json.loads(line)
        for row in case["rows"]:
            rows += 1
            expected = torch_row(case, row)
            text = ""
            for name, got in row["outputs"]:
                if name in expected and got != expected[name]:
                    at = next(i for i, (a, b) in enumerate(zip(got, expected[name])) if a != b)
                    text += f" {name}[{at}] is {got[at]}, PyTorch has {expected[name][at]}"
                    text += f" ({sum(a != b for a, b in zip(got, expected[name]))} of {len(got)});"
            known = [pattern for pattern in KNOWN if re.match(pattern, row["name"])]
            if text and known:
                met[known[0]] += 1
            elif text:
                unexpected += 1
                print(f"{row['name']}:{text}")
    for pattern, count in met.items():
        print(f"{pattern}: {count} rows differ: {KNOWN[pattern]}")
    print(f"{rows} rows, {unexpected} that differ from PyTorch {torch.__version__}")
    sys.exit(unexpected > 0 or 0 in met.values())


if __name__ == "__main__":
    main()

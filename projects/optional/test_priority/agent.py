"""A Dueling Double DQN agent that learns to order tests online, cycle by cycle.

Dueling: Q(s, a) = V(s) + A(s, a) - mean A (Wang et al., ICML 2016). Double: the next action is chosen by the network
and valued by the target network (van Hasselt et al., AAAI 2016). Tests are ordered by Q(early) - Q(later), so V, which
says how good a cycle is as a whole, moves no order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .cycles import Cycle, Floats, Ints
from .environment import EARLY, OrderingTests, observations
from .history import FEATURES, History


@dataclass(frozen=True)
class AgentParams:
    """``memory`` transitions are replayed, ``updates`` batches after each cycle; the target network takes over the
    share ``follow`` of the network at each. Epsilon falls from ``epsilon_first`` to ``epsilon_last`` over
    ``epsilon_cycles`` cycles. ``gamma`` discounts the next test's value, which hardly depends on this test's place.
    """

    hidden: int = 32
    lr: float = 0.001
    gamma: float = 0.1
    memory: int = 20_000
    batch: int = 256
    updates: int = 20
    follow: float = 0.02
    epsilon_first: float = 1.0
    epsilon_last: float = 0.05
    epsilon_cycles: int = 40
    weight_decay: float = 1e-3


@dataclass
class Replay:
    """The last transitions, the oldest overwritten first."""

    size: int
    width: int
    seen: int = 0
    state: Floats = field(init=False)
    after: Floats = field(init=False)
    action: Ints = field(init=False)
    reward: Floats = field(init=False)
    over: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.state, self.after = np.zeros((self.size, self.width)), np.zeros((self.size, self.width))
        self.action = np.zeros(self.size, dtype=np.int64)
        self.reward, self.over = np.zeros(self.size), np.zeros(self.size)

    def add(self, state: Floats, action: int, reward: float, after: Floats, over: bool) -> None:
        """Keep one transition."""
        at = self.seen % self.size
        self.state[at], self.action[at], self.reward[at] = state, action, reward
        self.after[at], self.over[at] = after, over
        self.seen += 1

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Floats, Ints, Floats, Floats, Floats]:
        """States, actions, rewards, next states and ends of ``count`` transitions, drawn with replacement."""
        at = rng.integers(0, min(self.seen, self.size), count)
        return self.state[at], self.action[at], self.reward[at], self.after[at], self.over[at]


class Agent:
    """A policy like the others: scores the tests of a cycle, then plays the ended cycle and learns from its replay.

    ``logged`` has a dictionary for each cycle that taught something: episode reward, loss, epsilon, mean Q.
    """

    def __init__(self, seed: int, params: AgentParams | None = None) -> None:
        import torch

        self._params, self._rng = params or AgentParams(), np.random.default_rng(seed)
        self.history, self.logged = History(), list[dict[str, float]]()
        width = 2 * len(FEATURES)
        self._environment = OrderingTests(len(FEATURES))
        self._environment.reset(seed=seed)
        self._replay = Replay(self._params.memory, width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network, self._target = _dueling(width, self._params.hidden), _dueling(width, self._params.hidden)
        self._target.load_state_dict(self._network.state_dict())
        p = self._params
        self._optimiser = torch.optim.AdamW(self._network.parameters(), lr=p.lr, weight_decay=p.weight_decay)

    @property
    def epsilon(self) -> float:
        """The share of random actions in the next episode."""
        p = self._params
        gone = min(1.0, len(self.logged) / p.epsilon_cycles)
        return p.epsilon_first + (p.epsilon_last - p.epsilon_first) * gone

    def score(self, tests: Ints, day: float) -> Floats:
        """Q(early) - Q(later) of each test."""
        q = _q(self._network, observations(self.history.features(tests, day)))
        return np.asarray(q[:, 1] - q[:, 0])

    def learn(self, cycle: Cycle) -> None:
        """Play the ended cycle as one episode, then replay; cycles where all went alike have nothing to teach."""
        features = self.history.features(cycle.tests, cycle.day)
        self.history.learn(cycle)
        if len(cycle.tests) < 2 or not 0 < cycle.failures.sum() < cycle.executions.sum():
            return
        epsilon = self.epsilon
        reward, mean_q = self._play(cycle, features, epsilon)
        loss = float(np.mean([self._update() for _ in range(self._params.updates)]))
        row = {"cycle": float(cycle.number), "episode_reward": reward, "loss": loss, "epsilon": epsilon}
        self.logged.append(row | {"mean_q": mean_q})

    def _play(self, cycle: Cycle, features: Floats, epsilon: float) -> tuple[float, float]:
        """One episode: its reward per test, and the mean Q of the actions taken."""
        state, _ = self._environment.reset(options={"cycle": cycle, "features": features})
        total, values, over = 0.0, list[float](), False
        while not over:
            q = _q(self._network, state[None])[0]
            action = int(self._rng.integers(2)) if self._rng.random() < epsilon else int(q[EARLY] > q[1 - EARLY])
            after, reward, over, _, _ = self._environment.step(action)
            self._replay.add(state, action, reward, after, over)
            total, state = total + reward, after
            values.append(float(q[action]))
        return total / len(values), float(np.mean(values))

    def _update(self) -> float:
        import torch

        p = self._params
        state, action, reward, after, over = self._replay.sample(p.batch, self._rng)
        chosen = _q(self._network, after).argmax(axis=1)
        later = _q(self._target, after)[np.arange(len(chosen)), chosen]
        goal = torch.as_tensor(reward + p.gamma * (1 - over) * later, dtype=torch.float32)
        q = self._network(torch.as_tensor(state, dtype=torch.float32))
        taken = q.gather(1, torch.as_tensor(action)[:, None])[:, 0]
        loss = torch.nn.functional.smooth_l1_loss(taken, goal)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        with torch.no_grad():
            for slow, fast in zip(self._target.parameters(), self._network.parameters(), strict=True):
                slow.lerp_(fast, p.follow)
        return float(loss.detach())


def _q(network: Any, rows: Floats) -> Floats:
    """Q of both actions. In numpy: for a row at a time torch's calls would cost more than the arithmetic."""
    weight = {name: value.detach().numpy() for name, value in network.named_parameters()}
    common = np.maximum(rows @ weight["common.weight"].T + weight["common.bias"], 0.0)
    advantage = common @ weight["advantage.weight"].T + weight["advantage.bias"]
    value = common @ weight["value.weight"].T + weight["value.bias"]
    return np.asarray(value + advantage - advantage.mean(axis=1, keepdims=True))


def _dueling(width: int, hidden: int) -> Any:
    import torch
    from torch import Tensor, nn

    class Dueling(nn.Module):
        """Value and advantages from a common layer."""

        def __init__(self) -> None:
            super().__init__()
            self.common = nn.Linear(width, hidden)
            self.value, self.advantage = nn.Linear(hidden, 1), nn.Linear(hidden, 2)

        def forward(self, rows: Tensor) -> Tensor:
            """Q of both actions."""
            common = torch.relu(self.common(rows))
            advantage = self.advantage(common)
            return self.value(common) + advantage - advantage.mean(dim=1, keepdim=True)

    return Dueling()

"""The agent's parts: an environment in gymnasium's manner, a replay buffer, a dueling network, double targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelyard.config.project import Project


@pytest.fixture
def cycle(project: Project) -> Any:
    failed = np.array([True, False, False, True])
    return project.code("cycles:Cycle")(1, 0.0, np.arange(4), np.arange(4), failed, np.ones(4))


def test_an_episode_shows_every_test_once_and_pays_for_failures_first(project: Project, cycle: Any) -> None:
    world = project.code("environment:OrderingTests")(3)
    features = np.arange(12.0).reshape(4, 3)
    state, _ = world.reset(seed=1, options={"cycle": cycle, "features": features})
    shown, total, over = [state], 0.0, False
    while not over:
        place = int((shown[-1][0] + features[:, 0].mean()) / 3)
        state, reward, over, truncated, _ = world.step(1 if cycle.failed[place] else 0)
        assert reward > 0
        assert not truncated
        total += reward
        shown.append(state)
    assert {tuple(row) for row in shown} == {tuple(r) for r in project.code("environment:observations")(features)}
    assert total == pytest.approx(4 * 2 * 0.5), "tests times passed share, for failures and for passes"
    with pytest.raises(ValueError, match="over"):
        world.step(0)
    world.reset()
    with pytest.raises(ValueError, match="action 2"):
        world.step(2)


def test_the_same_seed_gives_the_same_episode(project: Project, cycle: Any) -> None:
    world = project.code("environment:OrderingTests")(3)
    given = {"cycle": cycle, "features": np.arange(12.0).reshape(4, 3)}
    episodes = []
    for _ in range(2):
        state, _ = world.reset(seed=7, options=given)
        episodes.append([state.tolist(), *(world.step(1)[0].tolist() for _ in range(4))])
    assert episodes[0] == episodes[1]


def test_the_replay_buffer_forgets_the_oldest(project: Project) -> None:
    replay = project.code("agent:Replay")(2, 1)
    for number in range(3):
        replay.add(np.array([float(number)]), number, float(number), np.array([number + 0.5]), number == 2)
    state, action, reward, after, over = replay.sample(50, np.random.default_rng(0))
    assert set(action.tolist()) == {1, 2}
    assert np.array_equal(state[:, 0], reward)
    assert np.array_equal(after[:, 0], reward + 0.5)
    assert np.array_equal(over, reward == 2)


def test_the_network_is_dueling_and_numpy_says_what_torch_says(project: Project) -> None:
    import torch

    torch.manual_seed(0)
    network, rows = project.code("agent:_dueling")(4, 8), np.random.default_rng(0).normal(size=(5, 4))
    q = project.code("agent:_q")(network, rows)
    with torch.no_grad():
        at = torch.as_tensor(rows, dtype=torch.float32)
        assert q == pytest.approx(network(at).numpy(), abs=1e-5)
        value = network.value(torch.relu(network.common(at))).numpy()
    assert q.mean(axis=1, keepdims=True) == pytest.approx(value, abs=1e-5)


def test_an_agent_learns_what_fails_and_logs_it(project: Project) -> None:
    rows = project.code("source:generated")(seed=3, cycle_count=40, tests=40)
    past = list(project.code("cycles:cycles")(rows))
    params = project.code("agent:AgentParams")(epsilon_cycles=10, updates=4)
    agents = [project.code("agent:Agent")(5, params) for _ in range(2)]
    found = [project.code("policies:judge")(agent, past).whole for agent in agents]
    assert np.array_equal(*found), "the same seed learns the same"
    assert found[0][20:].mean() > 0.6
    first, last = agents[0].logged[0], agents[0].logged[-1]
    assert first.keys() == {"cycle", "episode_reward", "loss", "epsilon", "mean_q"}
    assert (first["epsilon"], last["epsilon"]) == (1.0, pytest.approx(0.05))
    assert np.mean([row["episode_reward"] for row in agents[0].logged[-15:]]) > 0

//! The method of Levenberg and Marquardt.

use super::normal::{CostOnly, Normal};
use super::problem::{Problem, State};

const MOST_STEPS: u32 = 15;
/// A step that saves less than this share of the cost is the last one.
const SETTLED: f64 = 1e-4;

/// Where a fit ended.
#[derive(Debug)]
pub struct Solved {
    /// The best state met; where the fit began if nothing was better.
    pub state: State,
    /// Steps tried.
    pub steps: u32,
}

/// Improves a state; none where its cost is not finite.
pub fn solve(problem: &Problem<'_>, start: State) -> Option<Solved> {
    let mut normal = Normal::new(problem.free);
    let mut state = start;
    let mut cost = problem.rows(&state, &mut normal);
    if !cost.is_finite() {
        return None;
    }
    let (mut damping, mut steps) = (1e-3, 0);
    while steps < MOST_STEPS {
        steps += 1;
        let Some(step) = normal.step(damping) else {
            damping *= 10.0;
            continue;
        };
        let next = state.stepped(problem.rig, &step);
        let next_cost = problem.rows(&next, &mut CostOnly);
        if next_cost.is_nan() || next_cost >= cost {
            damping *= 5.0;
            continue;
        }
        let saved = (cost - next_cost) / cost;
        (state, cost) = (next, next_cost);
        if saved < SETTLED {
            break;
        }
        damping = (damping * 0.3_f64).max(1e-7);
        normal.clear();
        problem.rows(&state, &mut normal);
    }
    Some(Solved { state, steps })
}

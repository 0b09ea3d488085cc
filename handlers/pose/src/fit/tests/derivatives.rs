//! Derivatives against finite differences.

use glam::{DMat3, DQuat, DVec2, DVec3};

use super::super::normal::CostOnly;
use super::super::problem::{PARAMETERS, Problem, Rows, State};
use super::super::rig::{ACTIVE, POINTS};
use super::fitter;
use super::plausible::Chance;

/// Keeps rows whole.
#[derive(Default)]
struct Dense {
    residuals: Vec<f64>,
    weights: Vec<f64>,
    derivatives: Vec<[f64; PARAMETERS]>,
}

impl Rows for Dense {
    const DERIVATIVES: bool = true;

    fn row(&mut self, residual: f64, weight: f64, columns: &[usize], derivatives: &[f64; PARAMETERS]) {
        self.residuals.push(residual);
        self.weights.push(weight);
        let mut row = [0.0; PARAMETERS];
        columns.iter().for_each(|c| row[*c] = derivatives[*c]);
        self.derivatives.push(row);
    }
}

#[test]
fn derivatives_are_those_of_finite_differences() {
    let (fitter, mut chance) = (fitter(), Chance(3));
    let mut vector = |size: f32| (chance.normal3() * size).as_dvec3();
    let problem = Problem {
        rig: &fitter.rig,
        focal: 1200.0,
        centre: DVec2::new(640.0, 360.0),
        size: 400.0,
        seen: (0..POINTS)
            .map(|i| (i, vector(300.0).truncate() + DVec2::new(640.0, 360.0), 0.1 + 0.03 * i as f64))
            .collect(),
        ways: (1..POINTS).map(|i| (i - 1, i, vector(1.0).normalize())).collect(),
        free: PARAMETERS,
    };
    let state = State {
        locals: std::array::from_fn(|_| DMat3::from_quat(DQuat::from_scaled_axis(vector(0.5)))),
        moved: [(); ACTIVE].map(|()| vector(0.3)),
        place: DVec3::new(0.2, -0.1, 4.0),
        lengths: std::array::from_fn(|i| 0.05 * i as f64 - 0.2),
    };
    let mut rows = Dense::default();
    let cost = problem.rows(&state, &mut rows);
    assert!((cost - problem.rows(&state, &mut CostOnly)).abs() < 1e-9 * cost);
    let step = 1e-5;
    let mut gradient = [0.0; PARAMETERS];
    for column in 0..PARAMETERS {
        let at = |by: f64| {
            let mut change = [0.0; PARAMETERS];
            change[column] = by;
            let mut rows = Dense::default();
            let cost = problem.rows(&state.stepped(problem.rig, &change), &mut rows);
            (rows.residuals, cost)
        };
        let ((ahead, cost_ahead), (behind, cost_behind)) = (at(step), at(-step));
        let largest = rows.derivatives.iter().map(|row| row[column].abs()).fold(0.0, f64::max);
        assert!(largest > 0.0, "parameter {column} moves something");
        for (row, found) in rows.derivatives.iter().enumerate() {
            let expected = (ahead[row] - behind[row]) / (2.0 * step);
            let off = (found[column] - expected).abs() / largest;
            assert!(off < 1e-6, "row {row}, parameter {column}: {} not {expected}", found[column]);
            gradient[column] += 2.0 * rows.weights[row] * rows.residuals[row] * found[column];
        }
        // The weights are those of the robust cost: its slope is the weighted rows'.
        let expected = (cost_ahead - cost_behind) / (2.0 * step);
        assert!((gradient[column] - expected).abs() < 1e-5 * expected.abs().max(1.0), "the cost by parameter {column}");
    }
}

//! Normal equations, gathered row by row and solved by Cholesky's method.

use super::problem::{PARAMETERS, Rows};

/// The lower half of `J'WJ`, by rows, and `J'We`.
pub struct Normal {
    matrix: Vec<[f64; PARAMETERS]>,
    gradient: [f64; PARAMETERS],
    /// Parameters that are free; the rest stay.
    free: usize,
}

impl Normal {
    /// Equations without rows.
    pub fn new(free: usize) -> Normal {
        Normal { matrix: vec![[0.0; PARAMETERS]; free], gradient: [0.0; PARAMETERS], free }
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.matrix.fill([0.0; PARAMETERS]);
        self.gradient.fill(0.0);
    }

    /// The step of Levenberg and Marquardt: `damping` enlarges the diagonal. None where the matrix is not positive definite.
    pub fn step(&self, damping: f64) -> Option<[f64; PARAMETERS]> {
        let mut lower = self.matrix.clone();
        for row in 0..self.free {
            let (above, rest) = lower.split_at_mut(row);
            let line = &mut rest[0];
            for (column, solved) in above.iter().enumerate() {
                line[column] = (line[column] - dot(&line[..column], &solved[..column])) / solved[column];
            }
            let diagonal = line[row] + damping * (line[row] + 1e-6) - dot(&line[..row], &line[..row]);
            if diagonal.is_nan() || diagonal <= 0.0 {
                return None;
            }
            line[row] = diagonal.sqrt();
        }
        let mut step = [0.0; PARAMETERS];
        for row in 0..self.free {
            step[row] = (-self.gradient[row] - dot(&lower[row][..row], &step[..row])) / lower[row][row];
        }
        for row in (0..self.free).rev() {
            step[row] /= lower[row][row];
            let solved = step[row];
            step[..row].iter_mut().zip(&lower[row]).for_each(|(x, l)| *x -= l * solved);
        }
        step.iter().all(|x| x.is_finite()).then_some(step)
    }
}

impl Rows for Normal {
    const DERIVATIVES: bool = true;

    fn row(&mut self, residual: f64, weight: f64, columns: &[usize], derivatives: &[f64; PARAMETERS]) {
        for (count, row) in columns.iter().enumerate() {
            let weighted = weight * derivatives[*row];
            self.gradient[*row] += weighted * residual;
            let line = &mut self.matrix[*row];
            columns[..=count].iter().for_each(|column| line[*column] += weighted * derivatives[*column]);
        }
    }
}

/// Takes no rows: the cost alone is wanted.
pub struct CostOnly;

impl Rows for CostOnly {
    const DERIVATIVES: bool = false;

    fn row(&mut self, _: f64, _: f64, _: &[usize], _: &[f64; PARAMETERS]) {}
}

/// Four sums side by side: one would wait for each addition before the next.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a4.iter().zip(b4) {
        (0..4).for_each(|i| sums[i] += a[i] * b[i]);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

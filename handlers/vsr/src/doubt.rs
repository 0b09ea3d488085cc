//! Where a model failed. A network that was trained on footage can run away where hard saturated colours meet, as in test
//! cards and graphics: SPAN's values grow a thousandfold there and come out as snow. What was made larger must still be, in
//! the mean, what it was made of: where it is not, the resampled picture stands in.

use darkroom_api::Result;

use crate::resize::Resize;
use crate::tiles::Picture;

/// Further than this outside of what a pixel and its neighbours are, no mean of what was made of it lies. SPAN keeps within
/// 0.09 on footage; Real-ESRGAN, which redraws edges, is beyond 0.25 at one pixel of thousands.
const BEYOND: f32 = 0.25;
/// How far around a failure nothing is trusted, in pixels of the input: failures have edges that happen to look right.
const AROUND_PX: usize = 4;
/// Pixels over which one goes into the other.
const FADE_PX: usize = 2;

/// Puts the resampled picture in the places where the model failed; how many pixels of `picture` these are. A model that
/// makes something else of most of a picture means to: nothing is changed.
///
/// # Errors
/// As [`Resize::picture`].
pub fn stand_in(picture: &Picture, made: &mut Picture, resize: &mut Resize) -> Result<usize> {
    let (width, height) = (picture.width, picture.height);
    let mut mask = failures(picture, made);
    let failed = mask.iter().filter(|value| **value > 0.0).count();
    if failed == 0 || 4 * failed > 3 * width * height {
        return Ok(0);
    }
    sweep(&mut mask, width, height, AROUND_PX + FADE_PX, |window| window.iter().copied().fold(0.0, f32::max));
    let replaced = mask.iter().filter(|value| **value > 0.0).count();
    #[allow(clippy::cast_precision_loss, reason = "a few pixels")]
    sweep(&mut mask, width, height, FADE_PX, |window| window.iter().sum::<f32>() / window.len() as f32);
    let mask = resize.picture(&Picture { width, height, values: mask }, made.width, made.height)?;
    let plain = resize.picture(picture, made.width, made.height)?;
    for (made, plain) in made.planes_mut().zip(plain.planes()) {
        for ((made, plain), share) in made.iter_mut().zip(plain).zip(&mask.values) {
            // What the model made may be no number.
            *made = if *share > 0.999 { *plain } else { *made + (plain - *made) * share.max(0.0) };
        }
    }
    Ok(replaced)
}

/// 1 where what was made of a pixel cannot be, else 0.
fn failures(picture: &Picture, made: &Picture) -> Vec<f32> {
    let (width, height, scale) = (picture.width, picture.height, made.width / picture.width);
    let mut mask = vec![0.0; width * height];
    #[allow(clippy::cast_precision_loss, reason = "at most 64")]
    let share = 1.0 / (scale * scale) as f32;
    let mut means = vec![0.0_f32; width];
    for (plane, made_plane) in picture.planes().zip(made.planes()) {
        for (y, rows) in made_plane.chunks_exact(width * scale * scale).enumerate() {
            means.fill(0.0);
            for row in rows.chunks_exact(width * scale) {
                means.iter_mut().zip(row.chunks_exact(scale)).for_each(|(sum, made)| *sum += made.iter().sum::<f32>());
            }
            for (x, sum) in means.iter().enumerate() {
                let (mean, own) = (sum * share, plane[y * width + x]);
                // What is no number is not near.
                let near = |off: f32| off <= BEYOND;
                if !near((mean - own).abs()) && !near(beyond(plane, (width, height), (x, y), mean)) {
                    mask[y * width + x] = 1.0;
                }
            }
        }
    }
    mask
}

/// How far a value lies outside of what a pixel and its neighbours are.
fn beyond(plane: &[f32], (width, height): (usize, usize), (x, y): (usize, usize), value: f32) -> f32 {
    let rows = y.saturating_sub(1)..(y + 2).min(height);
    let near = rows.flat_map(|y| &plane[y * width + x.saturating_sub(1)..y * width + (x + 2).min(width)]);
    let (low, high) = near.fold((f32::MAX, f32::MIN), |(low, high), near| (low.min(*near), high.max(*near)));
    if value < low { low - value } else { value - high }
}

/// Replaces each value by what `of` makes of those up to `reach` away, along rows and then along columns.
fn sweep(values: &mut [f32], width: usize, height: usize, reach: usize, of: impl Fn(&[f32]) -> f32) {
    let line = |line: &[f32]| -> Vec<f32> {
        (0..line.len()).map(|at| of(&line[at.saturating_sub(reach)..(at + reach + 1).min(line.len())])).collect()
    };
    values.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(&line(row)));
    for x in 0..width {
        let column: Vec<f32> = (0..height).map(|y| values[y * width + x]).collect();
        line(&column).into_iter().enumerate().for_each(|(y, value)| values[y * width + x] = value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slope with an edge, and its enlargement.
    fn pair() -> (Picture, Picture) {
        let (width, height) = (64, 48);
        let value = |at: usize| if at % width < 30 { 0.2 } else { 0.5 + (at / width) as f32 / 100.0 };
        let picture = Picture { width, height, values: (0..3 * width * height).map(|at| value(at % 3072)).collect() };
        let made = Resize::new().picture(&picture, 2 * width, 2 * height).unwrap();
        (picture, made)
    }

    #[test]
    fn snow_is_taken_out_and_the_rest_stays() {
        let (picture, good) = pair();
        let mut same = good.clone();
        assert_eq!(stand_in(&picture, &mut same, &mut Resize::new()), Ok(0));
        assert_eq!(same, good);

        let mut bad = good.clone();
        for (at, value) in bad.values.iter_mut().enumerate() {
            let (x, y) = (at % 128, at / 128 % 96);
            *value = match (30..60).contains(&x) && (30..50).contains(&y) {
                true if at % 7 == 0 => f32::NAN,
                true => [0.0, 1.0][(x * 7 + y * 3 + x * y) % 2],
                // What else the model made better is kept.
                false => *value + 0.01,
            };
        }
        let replaced = stand_in(&picture, &mut bad, &mut Resize::new()).unwrap();
        assert!((150..2000).contains(&replaced), "{replaced}");
        let off = |made: &Picture| made.values.iter().zip(&good.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off(&bad) < 0.0101, "{}", off(&bad));
        assert!((bad.values[0] - good.values[0] - 0.01).abs() < 1e-6, "far away nothing changes");
    }

    #[test]
    fn a_model_that_means_it_is_left_alone() {
        let (picture, mut made) = pair();
        made.values.iter_mut().for_each(|value| *value = 1.0 - *value);
        let inverted = made.clone();
        assert_eq!(stand_in(&picture, &mut made, &mut Resize::new()), Ok(0));
        assert_eq!(made, inverted);
    }
}

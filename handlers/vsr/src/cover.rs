//! Colour where nothing is seen. Files hold any colour under transparent pixels, and both the model and the resampling
//! filter look at neighbours: it would come out as a fringe around what is seen.

use crate::tiles::Picture;

/// Opacity from which on a pixel's own colour counts in full; below, ever more of its neighbours' is mixed in. Codecs leave
/// traces of opacity where there was none.
const SEEN: f32 = 1.0 / 16.0;
/// Least weight of a pixel in [`associate`]: what is not seen keeps its colour, and nothing is divided by nothing.
const TRACE: f32 = 1.0 / 64.0;
/// Nearer to opaque than 16 bits tell.
const OPAQUE: f32 = 1.0 - 1.0 / 131_072.0;

/// Whether nothing shines through.
pub fn is_opaque(alpha: &Picture) -> bool {
    alpha.values.iter().all(|value| *value >= OPAQUE)
}

/// Gives pixels that are not seen the colour of the seen ones nearest to them. Opaque ones stay as they are.
///
/// Pull-push of Gortler et al., "The Lumigraph" (1996): ever smaller pictures of the mean of what is seen fill the gaps of
/// the larger ones.
pub fn cover(colour: &mut Picture, alpha: &Picture) {
    let mut weights: Vec<f32> = alpha.values.iter().map(|alpha| (alpha / SEEN).clamp(0.0, 1.0)).collect();
    fill(colour, &mut weights);
}

/// `colour` counts as far as `weights` say, the rest is filled.
fn fill(colour: &mut Picture, weights: &mut [f32]) {
    let (width, height) = (colour.width, colour.height);
    if width * height <= 1 || weights.iter().all(|weight| *weight >= 1.0) {
        return;
    }
    let half = |x: usize, y: usize| y / 2 * width.div_ceil(2) + x / 2;
    let mut smaller = Picture::new(colour.planes().len(), width.div_ceil(2), height.div_ceil(2));
    let mut sums = vec![0.0; smaller.width * smaller.height];
    let places = || (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).enumerate();
    places().for_each(|(at, (x, y))| sums[half(x, y)] += weights[at]);
    for (plane, means) in colour.planes().zip(smaller.planes_mut()) {
        places().for_each(|(at, (x, y))| means[half(x, y)] += weights[at] * plane[at]);
        means.iter_mut().zip(&sums).for_each(|(mean, sum)| *mean /= sum.max(f32::MIN_POSITIVE));
    }
    sums.iter_mut().for_each(|sum| *sum = sum.min(1.0));
    fill(&mut smaller, &mut sums);
    for (plane, means) in colour.planes_mut().zip(smaller.planes()) {
        for (at, (x, y)) in places() {
            let weight = weights[at];
            if weight < 1.0 {
                plane[at] = weight * plane[at] + (1.0 - weight) * means[half(x, y)];
            }
        }
    }
}

/// Multiplies light by how far it is seen, so that a filter adds up what is there.
pub fn associate(light: &mut Picture, alpha: &Picture) {
    for plane in light.planes_mut() {
        plane.iter_mut().zip(&alpha.values).for_each(|(light, alpha)| *light *= alpha + TRACE);
    }
}

/// Undoes [`associate`], once both went through the same filter. `alpha` as the filter left it: a filter that overshoots
/// does so in both.
pub fn dissociate(light: &mut Picture, alpha: &Picture) {
    for plane in light.planes_mut() {
        plane.iter_mut().zip(&alpha.values).for_each(|(light, alpha)| *light /= (alpha + TRACE).max(TRACE / 2.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_takes_the_colour_beside_it_and_the_rest_stays() {
        let (width, height) = (37, 21);
        let left = |at: usize| at % width < 9;
        let mut alpha = Picture::new(1, width, height);
        let mut colour = Picture::new(3, width, height);
        for at in 0..width * height {
            alpha.values[at] = if left(at) { 1.0 } else { 0.0 };
            for plane in 0..3 {
                // Red on the left, a hostile green that nobody sees on the right.
                colour.values[plane * width * height + at] = if left(at) == (plane == 0) { 0.75 } else { 0.0 };
            }
        }
        let before = colour.clone();
        cover(&mut colour, &alpha);
        for (plane, wanted) in colour.planes().zip([0.75, 0.0, 0.0]) {
            assert!(plane.iter().all(|value| (value - wanted).abs() < 1e-6), "{plane:?}");
        }
        let opaque = Picture { values: vec![1.0; width * height], ..alpha };
        let mut same = before.clone();
        cover(&mut same, &opaque);
        assert_eq!(same, before);
        let mut unseen = before;
        cover(&mut unseen, &Picture::new(1, width, height));
        assert!(unseen.values.iter().all(|value| *value == 0.0), "nothing is seen: nothing is told");
    }
}

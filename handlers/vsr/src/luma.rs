//! Models of one channel: they enlarge luma, and colour is laid over it.

use crate::tiles::Picture;

/// Weights of red, green and blue (ITU-R BT.709). What matters is that the way there and back agree.
const WEIGHTS: [f32; 3] = [0.2126, 0.7152, 0.0722];

/// Luma of a picture.
pub fn of(picture: &Picture) -> Picture {
    let mut luma = Picture::new(1, picture.width, picture.height);
    for (plane, weight) in picture.planes().zip(WEIGHTS) {
        for (sum, value) in luma.values.iter_mut().zip(plane) {
            *sum += weight * value;
        }
    }
    luma
}

/// The picture with another luma: each colour moves by the difference.
pub fn replace(mut picture: Picture, luma: &Picture) -> Picture {
    let old = of(&picture);
    for plane in picture.planes_mut() {
        for ((value, new), old) in plane.iter_mut().zip(&luma.values).zip(&old.values) {
            *value += new - old;
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_luma_is_the_picture_s_and_differences_of_colour_stay() {
        let picture = Picture { width: 2, height: 1, values: vec![0.9, 0.1, 0.5, 0.2, 0.3, 0.4] };
        let luma = Picture { width: 2, height: 1, values: vec![0.4, 0.6] };
        let replaced = replace(picture.clone(), &luma);
        for (found, wanted) in of(&replaced).values.iter().zip(&luma.values) {
            assert!((found - wanted).abs() < 1e-6);
        }
        let difference = |picture: &Picture| picture.values[0] - picture.values[2];
        assert!((difference(&replaced) - difference(&picture)).abs() < 1e-6);
    }
}

use super::tiles::Size;
use super::*;

/// Numbers between -0.5 and 0.5.
fn numbers(count: usize, mut seed: u32) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed >> 8) / f64::from(1 << 24) - 0.5
    };
    #[allow(clippy::cast_possible_truncation, reason = "any number will do")]
    (0..count).map(|_| next() as f32).collect()
}

/// The sums as they are written down, in double precision.
fn plain(picture: &[f32], kernels: &[f32], bias: &[f32], inputs: usize, (height, width): Size) -> Vec<f64> {
    let at = |input: usize, y: usize, x: usize| {
        // One beyond each side is a zero.
        let inside = (1..=height).contains(&y) && (1..=width).contains(&x);
        if inside { f64::from(picture[(input * height + y - 1) * width + x - 1]) } else { 0.0 }
    };
    let one = |index: usize| {
        let (output, y, x) = (index / (height * width), index / width % height, index % width);
        let term = |i: usize| {
            let (input, down, across) = (i / 9, i / 3 % 3, i % 3);
            at(input, y + down, x + across) * f64::from(kernels[output * inputs * 9 + i])
        };
        f64::from(bias[output]) + (0..inputs * 9).map(term).sum::<f64>()
    };
    (0..bias.len() * height * width).map(one).collect()
}

/// What follows, as it is written down.
fn followed(activation: &Activation, y: f64, output: usize, beside: f32) -> f64 {
    match activation {
        Activation::None => y,
        Activation::Slope(slopes) => {
            if y < 0.0 {
                y * f64::from(slopes[output % slopes.len()])
            } else {
                y
            }
        }
        Activation::Silu => y / (1.0 + (-y).exp()),
        Activation::Gate => (y + f64::from(beside) / 2.0) * y.tanh(),
    }
}

fn worst<L: Lanes>(outputs: usize, inputs: usize, size: Size, activation: &Activation, compiled: Compiled) -> f64 {
    let (picture, kernels) = (numbers(inputs * (size.0 * size.1).max(4), 1), numbers(outputs * inputs * 9, 2));
    let bias = numbers(outputs, 3);
    let weights =
        Weights::new(&kernels, &[outputs as i64, inputs as i64, 3, 3], Some(&bias), activation.clone()).unwrap();
    let beside = numbers(outputs * (size.0 * size.1).max(4), 4);
    let plain = plain(&picture, &kernels, &bias, inputs, size);
    let wanted: Vec<f64> = (plain.into_iter().enumerate())
        .map(|(i, y)| followed(activation, y, i / (size.0 * size.1), beside[i]))
        .collect();
    let mut made = vec![f32::NAN; wanted.len().max(outputs * 4)];
    let picture = |size: Size| Picture { planes: &picture[..inputs * size.0 * size.1], beside: &beside, size };
    // A desk that another size was computed with.
    let mut desk = Desk::default();
    for size in [(2, 2), size] {
        for block in 0..blocks::<L>(size) {
            // SAFETY: the tests ask whether the instructions are there; `made` has room for both sizes.
            unsafe { compiled(&weights, picture(size), block, made.as_mut_ptr(), &mut desk) };
        }
    }
    wanted.iter().zip(&made).map(|(wanted, made)| (wanted - f64::from(*made)).abs()).fold(0.0, f64::max)
}

#[test]
fn sums_are_those_of_a_convolution() {
    // Wider and higher than tiles and vectors of them, and not; channels that fill groups, and do not.
    for (outputs, inputs, size) in [
        (8, 8, (4, 64)),
        (13, 5, (9, 70)),
        (48, 48, (7, 131)),
        (3, 4, (4, 4)),
        (24, 16, (5, 2)),
        (1, 1, (2, 200)),
        (8, 8, (1, 1)),
        (8, 8, (5, 129)),
    ] {
        // A sum of some hundred products of halves, each off by some 1e-7 once transformed.
        let most = 6e-6 * (inputs as f64).sqrt();
        let slopes = Activation::Slope(numbers(outputs, 5));
        for activation in [Activation::None, slopes, Activation::Slope(vec![0.1]), Activation::Silu, Activation::Gate] {
            if Avx512::are_there() {
                let worst = worst::<Avx512>(outputs, inputs, size, &activation, avx512);
                assert!(worst < most, "{outputs} of {inputs}, {size:?}, {activation:?}: {worst:e}");
            }
            if Avx2::are_there() {
                let worst = worst::<Avx2>(outputs, inputs, size, &activation, avx2);
                assert!(worst < most, "{outputs} of {inputs}, {size:?}, {activation:?}: {worst:e}");
            }
        }
    }
}

#[test]
fn weights_of_another_shape_are_refused() {
    let kernels = numbers(72, 1);
    assert!(Weights::new(&kernels, &[4, 2, 3, 3], None, Activation::None).is_some());
    assert!(Weights::new(&kernels, &[4, 2, 1, 9], None, Activation::None).is_none());
    assert!(Weights::new(&kernels, &[4, 3, 3, 3], None, Activation::None).is_none());
    assert!(Weights::new(&kernels, &[4, 2, 3, 3], Some(&[0.0; 3]), Activation::None).is_none());
    assert!(Weights::new(&kernels, &[-4, -2, 3, 3], None, Activation::None).is_none());
    assert!(Weights::new(&[], &[0, 2, 3, 3], None, Activation::None).is_none());
}

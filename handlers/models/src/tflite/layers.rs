//! The operators that are known, one function each, as ONNX operations. What an option means is in TensorFlow Lite's
//! `schema.fbs`; its number there is the field's number here.

use super::model::Operator;
use super::network::Network;
use crate::onnx::Attribute;

const ADD: i32 = 0;
const CONCATENATION: i32 = 2;
const CONV_2D: i32 = 3;
const DEPTHWISE_CONV_2D: i32 = 4;
const DEPTH_TO_SPACE: i32 = 5;
const DEQUANTIZE: i32 = 6;
const LOGISTIC: i32 = 14;
const MAX_POOL_2D: i32 = 17;
const RESHAPE: i32 = 22;
const RESIZE_BILINEAR: i32 = 23;
const PAD: i32 = 34;
const DENSIFY: i32 = 124;

const MAX_STRIDE: usize = 16;
const MAX_KERNEL: usize = 31;
const MAX_PADDING: usize = 1 << 12;

impl Operator<'_> {
    /// Whether it makes a weight of a weight that is stored in another way.
    pub fn unpacks(&self) -> bool {
        matches!(self.code, DEQUANTIZE | DENSIFY)
    }

    fn count(&self, field: usize, default: i32, most: usize) -> Result<usize, String> {
        match &self.options {
            Some(options) => options.count(field, default, most),
            None => Err("its settings are missing".into()),
        }
    }

    /// Without settings a choice is its first.
    fn choice(&self, field: usize) -> Result<u8, String> {
        self.options.map_or(Ok(0), |options| options.byte(field))
    }
}

impl Network<'_> {
    /// Adds the operations of an operator.
    ///
    /// # Errors
    /// What is not known or does not fit.
    pub fn operator(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        match operator.code {
            // Weights are unpacked where they are read.
            DEQUANTIZE | DENSIFY => Ok(()),
            CONV_2D => self.convolution(operator, false),
            DEPTHWISE_CONV_2D => self.convolution(operator, true),
            ADD => self.add(operator),
            MAX_POOL_2D => self.max_pool(operator),
            PAD => self.pad(operator),
            RESIZE_BILINEAR => self.resize(operator),
            DEPTH_TO_SPACE => self.depth_to_space(operator),
            LOGISTIC => self.logistic(operator),
            CONCATENATION => self.concat(operator),
            RESHAPE => self.reshape(operator),
            code => Err(format!("operators of code {code} are not known")),
        }
    }

    fn convolution(&mut self, operator: &Operator<'_>, by_channel: bool) -> Result<(), String> {
        let input = Self::operand(operator, 0)?;
        let x = self.planar(input)?;
        let [_, _, channels] = self.picture(input)?;
        let (weights, shape) = self.numbers(Self::operand(operator, 1)?)?;
        let [first, rows, columns, last] = shape[..] else { return Err("weights without four dimensions".into()) };
        let (fits, out) =
            if by_channel { (first == 1 && last % channels == 0, last) } else { (last == channels, first) };
        if !fits || rows > MAX_KERNEL || columns > MAX_KERNEL {
            return Err(format!("weights {shape:?} do not fit {channels} channels"));
        }
        let weights = if by_channel {
            self.weight(&[out, 1, rows, columns], &transposed(&weights, rows * columns, out))
        } else {
            let by_output = weights.chunks_exact(rows * columns * channels);
            let weights: Vec<f32> = by_output.flat_map(|one| transposed(one, rows * columns, channels)).collect();
            self.weight(&[out, channels, rows, columns], &weights)
        };
        let (bias, _) = self.numbers(Self::operand(operator, 2)?)?;
        if bias.len() != out {
            return Err(format!("{} biases for {out} channels", bias.len()));
        }
        let bias = self.weight(&[out], &bias);
        // Settings of convolutions by channel have one number more in between.
        let shift = usize::from(by_channel);
        let strides = [operator.count(2, 0, MAX_STRIDE)?, operator.count(1, 0, MAX_STRIDE)?];
        let dilations = [operator.count(5 + shift, 1, MAX_STRIDE)?, operator.count(4 + shift, 1, MAX_STRIDE)?];
        let kernel = [rows, columns];
        let pads = self.padding(operator, input, kernel, strides, dilations)?;
        let attributes = vec![
            Attribute::ints("dilations", &dilations),
            Attribute::int("group", if by_channel { channels as i64 } else { 1 }),
            Attribute::ints("kernel_shape", &kernel),
            Attribute::ints("pads", &pads),
            Attribute::ints("strides", &strides),
        ];
        let sum = self.node("Conv", vec![x, weights, bias], attributes);
        let made = self.activation(operator.choice(3 + shift)?, sum)?;
        self.set(operator, made, true);
        Ok(())
    }

    /// What is added around a picture, as ONNX has it: top, left, bottom, right.
    fn padding(
        &self,
        operator: &Operator<'_>,
        input: usize,
        kernel: [usize; 2],
        strides: [usize; 2],
        dilations: [usize; 2],
    ) -> Result<[usize; 4], String> {
        if strides.contains(&0) || dilations.contains(&0) {
            return Err("a stride of nothing".into());
        }
        let [height, width, _] = self.picture(input)?;
        let whole = |axis: usize, side: usize| {
            let out = side.div_ceil(strides[axis]);
            let reach = (out - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1;
            reach.saturating_sub(side)
        };
        match operator.choice(0)? {
            // As large as the input; where the padding is odd, there is more after than before.
            0 => {
                let (v, h) = (whole(0, height), whole(1, width));
                Ok([v / 2, h / 2, v.div_ceil(2), h.div_ceil(2)])
            }
            1 => Ok([0; 4]),
            kind => Err(format!("a padding of kind {kind} is not known")),
        }
    }

    /// What an operator does with its result.
    fn activation(&mut self, kind: u8, sum: String) -> Result<String, String> {
        match kind {
            0 => Ok(sum),
            1 => Ok(self.node("Relu", vec![sum], vec![])),
            3 => {
                let limits = [0.0, 6.0].map(|limit| self.weight(&[], &[limit]));
                Ok(self.node("Clip", [vec![sum], limits.to_vec()].concat(), vec![]))
            }
            kind => Err(format!("an activation of kind {kind} is not known")),
        }
    }

    fn add(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let [a, b] = operator.inputs[..] else { return Err("more or fewer inputs than two".into()) };
        if self.shape(a) != self.shape(b) {
            return Err(format!("{:?} and {:?} do not go together", self.shape(a), self.shape(b)));
        }
        let inputs = vec![self.planar(a)?, self.planar(b)?];
        let sum = self.node("Add", inputs, vec![]);
        let made = self.activation(operator.choice(0)?, sum)?;
        self.set(operator, made, true);
        Ok(())
    }

    fn max_pool(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let input = Self::operand(operator, 0)?;
        let x = self.planar(input)?;
        let strides = [operator.count(2, 0, MAX_STRIDE)?, operator.count(1, 0, MAX_STRIDE)?];
        let kernel = [operator.count(4, 0, MAX_KERNEL)?, operator.count(3, 0, MAX_KERNEL)?];
        if kernel.contains(&0) {
            return Err("a size of nothing".into());
        }
        let pads = self.padding(operator, input, kernel, strides, [1, 1])?;
        let attributes = vec![
            Attribute::ints("kernel_shape", &kernel),
            Attribute::ints("pads", &pads),
            Attribute::ints("strides", &strides),
        ];
        let most = self.node("MaxPool", vec![x], attributes);
        let made = self.activation(operator.choice(5)?, most)?;
        self.set(operator, made, true);
        Ok(())
    }

    fn pad(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let x = self.planar(Self::operand(operator, 0)?)?;
        let pads = self.integers(Self::operand(operator, 1)?, 8)?;
        // Before and after, for each dimension as it is in the file.
        let [0, 0, top, bottom, left, right, front, back] = pads[..] else {
            return Err(format!("a padding of {pads:?} is not known"));
        };
        if pads.iter().any(|count| *count > MAX_PADDING) {
            return Err(format!("a padding of {pads:?}"));
        }
        let pads = self.sizes(&[0, front, top, left, 0, back, bottom, right]);
        let made = self.node("Pad", vec![x, pads], vec![]);
        self.set(operator, made, true);
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, reason = "a scale of at most 2^31")]
    fn resize(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let input = Self::operand(operator, 0)?;
        let (x, [height, width, _]) = (self.planar(input)?, self.picture(input)?);
        let size = self.integers(Self::operand(operator, 1)?, 2)?;
        let [rows, columns] = size[..] else { return Err("a size without two sides".into()) };
        if rows % height != 0 || columns % width != 0 || rows == 0 || columns == 0 {
            return Err(format!("{width}x{height} to {columns}x{rows} is no whole-number scale"));
        }
        let mode = match (operator.choice(2)?, operator.choice(3)?) {
            (0, 0) => "asymmetric",
            (0, _) => "half_pixel",
            _ => "align_corners",
        };
        let scales = self.weight(&[4], &[1.0, 1.0, (rows / height) as f32, (columns / width) as f32]);
        let attributes =
            vec![Attribute::text("coordinate_transformation_mode", mode), Attribute::text("mode", "linear")];
        // The region of interest is left out.
        let made = self.node("Resize", vec![x, String::new(), scales], attributes);
        self.set(operator, made, true);
        Ok(())
    }

    fn depth_to_space(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let input = Self::operand(operator, 0)?;
        let (x, [_, _, channels]) = (self.planar(input)?, self.picture(input)?);
        let block = operator.count(0, 0, MAX_STRIDE)?;
        if block == 0 || channels % (block * block) != 0 {
            return Err(format!("{channels} channels do not make pictures {block} times as large"));
        }
        let attributes = vec![Attribute::int("blocksize", block as i64), Attribute::text("mode", "DCR")];
        let made = self.node("DepthToSpace", vec![x], attributes);
        self.set(operator, made, true);
        Ok(())
    }

    fn logistic(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let x = self.made(Self::operand(operator, 0)?)?;
        let made = self.node("Sigmoid", vec![x.name], vec![]);
        self.set(operator, made, x.planar);
        Ok(())
    }

    fn concat(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let parts: Vec<_> = operator.inputs.iter().map(|input| self.made(*input)).collect::<Result<_, _>>()?;
        let planar = parts.first().is_some_and(|part| part.planar);
        if parts.is_empty() || parts.iter().any(|part| part.planar != planar) || operator.choice(1)? != 0 {
            return Err("parts that cannot be joined".into());
        }
        let rank = self.shape(operator.output).len();
        let axis = operator.count(0, 0, rank.saturating_sub(1))?;
        // As the dimensions are stored here: count, channels, height, width.
        let axis = if planar { [0, 2, 3, 1].get(axis).copied().unwrap_or(axis) } else { axis };
        let names = parts.into_iter().map(|part| part.name).collect();
        let made = self.node("Concat", names, vec![Attribute::int("axis", axis as i64)]);
        self.set(operator, made, planar);
        Ok(())
    }

    /// The file's own idea of the new shape; the first dimension is the number of pictures, and stays open.
    fn reshape(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let input = Self::operand(operator, 0)?;
        let (from, to) = (self.shape(input), self.shape(operator.output));
        let [1, rest @ ..] = to else { return Err(format!("{to:?} is not the shape of one picture's result")) };
        if from.first() != Some(&1) || from.iter().product::<usize>() != rest.iter().product::<usize>() {
            return Err(format!("{from:?} is not {to:?} in another shape"));
        }
        let x = self.plain(input)?;
        // Nothing stands for what was there.
        let shape = self.sizes(&[&[0], rest].concat());
        let made = self.node("Reshape", vec![x, shape], vec![]);
        self.set(operator, made, false);
        Ok(())
    }
}

/// Rows as columns.
fn transposed(numbers: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| numbers[row * columns + column])).collect()
}

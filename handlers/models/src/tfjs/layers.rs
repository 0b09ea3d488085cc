//! The operations that are known, one function each. What they mean is in TensorFlow's documentation of `tf.raw_ops`.

use super::graph::Op;
use super::network::{Made, Network, input};
use crate::onnx::Attribute;

const MAX_SIDE: usize = 1 << 13;
pub(super) const MAX_CHANNELS: usize = 1 << 14;
const MAX_COLOURS: usize = 4;
const MAX_PADDING: i64 = 1 << 10;
pub(super) const MAX_STRIDE: usize = 16;

impl Network {
    /// Adds the operations of a node.
    ///
    /// # Errors
    /// What is not known or does not fit.
    pub fn op(&mut self, op: &Op) -> Result<(), String> {
        match op.kind.as_str() {
            "Const" => Ok(()),
            "Placeholder" => self.placeholder(op),
            "SparseToDense" => self.sparse_to_dense(op),
            "AddV2" if self.ints(op, 0).is_ok() => self.add_sizes(op),
            "AddV2" => self.add_pictures(op),
            "Transpose" => self.transpose(op),
            "Pad" | "PadV2" => self.pad(op),
            "Conv2D" => self.convolution(op),
            "Add" => self.add(op),
            "LeakyRelu" => self.leaky_relu(op),
            "MaxPool" => self.max_pool(op),
            "ConcatV2" => self.concat(op),
            "ResizeBilinear" => self.resize(op),
            "SplitV" => self.split(op),
            "Sigmoid" => self.sigmoid(op),
            "Reshape" => self.reshape(op),
            "Identity" => self.identity(op),
            "_FusedConv2D" => self.fused_convolution(op, false),
            "FusedDepthwiseConv2dNative" | "DepthwiseConv2dNative" => self.fused_convolution(op, true),
            "Sub" | "Mul" => self.arithmetic(op, &op.kind),
            "Cast" | "Unpack" | "ExpandDims" | "Squeeze" => self.same_picture(op),
            _ => Err("nodes of this kind are not known".into()),
        }
    }

    fn placeholder(&mut self, op: &Op) -> Result<(), String> {
        let Some(&[1, a, b, c]) = op.dims("shape").as_deref() else {
            return Err("it is no picture in planes".into());
        };
        let interleaved = c <= MAX_COLOURS && a > MAX_COLOURS;
        let size @ [channels, height, width] = if interleaved { [c, a, b] } else { [a, b, c] };
        if self.channels.replace(channels).is_some() || height.max(width) > MAX_SIDE || channels > MAX_COLOURS {
            return Err("a second picture, or one of impossible size".into());
        }
        self.set_picture(op, "image".into(), interleaved, size);
        Ok(())
    }

    /// Zeros where nothing is listed: what is left of sizes that were found while computing.
    fn sparse_to_dense(&mut self, op: &Op) -> Result<(), String> {
        match (self.ints(op, 0)?, self.ints(op, 1)?, self.ints(op, 2)?, self.ints(op, 3)?) {
            ([], [count], [], [0]) if (0..=4).contains(count) => {
                let zeros = (0..*count).map(|_| 0).collect();
                self.constant(op, zeros);
                Ok(())
            }
            _ => Err("only lists of zeros are known".into()),
        }
    }

    fn add_sizes(&mut self, op: &Op) -> Result<(), String> {
        let (a, b) = (self.ints(op, 0)?, self.ints(op, 1)?);
        if a.len() != b.len() {
            return Err("sizes that do not go together".into());
        }
        let sum = a.iter().zip(b).map(|(a, b)| a.saturating_add(*b)).collect();
        self.constant(op, sum);
        Ok(())
    }

    /// Turns of whole pictures become another way to see them.
    fn transpose(&mut self, op: &Op) -> Result<(), String> {
        let turn = self.ints(op, 1)?.to_vec();
        match (self.made(input(op, 0)?)?, &turn[..]) {
            (Made::Picture { name, interleaved: false, size }, [0, 2, 3, 1]) => {
                self.set_picture(op, name, true, size);
            }
            (Made::Picture { name, interleaved: true, size }, [0, 3, 1, 2]) => {
                self.set_picture(op, name, false, size);
            }
            (Made::Plain(name), [0, 2, 1]) => {
                let turned = self.node("Transpose", vec![name], vec![Attribute::ints("perm", &[0, 2, 1])]);
                self.set(&op.name, Made::Plain(turned));
            }
            _ => return Err(format!("a turn by {turn:?} is not known")),
        }
        Ok(())
    }

    fn pad(&mut self, op: &Op) -> Result<(), String> {
        let (x, [channels, height, width]) = self.picture(op, 0, false)?;
        let pads = self.ints(op, 1)?;
        let [0, 0, 0, 0, top, bottom, left, right] = *pads else {
            return Err(format!("a padding of {pads:?} is not known"));
        };
        if pads.iter().any(|count| !(0..=MAX_PADDING).contains(count)) {
            return Err(format!("a padding of {pads:?}"));
        }
        let mut inputs = vec![x, self.sizes(&[0, 0, top, left, 0, 0, bottom, right])];
        if op.kind == "PadV2" {
            let [value] = *self.floats(op, 2)?.0 else { return Err("more or fewer values than one".into()) };
            inputs.push(self.weight(&[], &[value]));
        }
        let made = self.node("Pad", inputs, vec![]);
        let grown = |side: usize, more: i64| side + usize::try_from(more).unwrap_or(0);
        self.set_picture(op, made, false, [channels, grown(height, top + bottom), grown(width, left + right)]);
        Ok(())
    }

    fn convolution(&mut self, op: &Op) -> Result<(), String> {
        let (x, [channels, height, width]) = self.picture(op, 0, true)?;
        let (numbers, dims) = self.floats(op, 1)?;
        let [rows, columns, inputs, out] = *dims else { return Err("weights without four dimensions".into()) };
        let fits = inputs == channels && rows.min(columns).min(out) > 0 && rows <= height && columns <= width;
        if !fits || out > MAX_CHANNELS || op.ints("dilations")? != [1, 1, 1, 1] {
            return Err(format!("weights {dims:?} do not fit {channels}x{height}x{width}"));
        }
        let turned = planes(numbers, rows * columns, inputs, out);
        let weights = self.weight(&[out, inputs, rows, columns], &turned);
        let (strides, size) = window(op, [height, width], [rows, columns])?;
        let attributes = vec![Attribute::ints("kernel_shape", &[rows, columns]), Attribute::ints("strides", &strides)];
        let made = self.node("Conv", vec![x, weights], attributes);
        self.set_picture(op, made, true, [out, size[0], size[1]]);
        Ok(())
    }

    fn max_pool(&mut self, op: &Op) -> Result<(), String> {
        let (x, [channels, height, width]) = self.picture(op, 0, true)?;
        let [1, rows, columns, 1] = op.ints("ksize")?[..] else { return Err("a window of several pictures".into()) };
        let (strides, size) = window(op, [height, width], [rows, columns])?;
        let attributes = vec![Attribute::ints("kernel_shape", &[rows, columns]), Attribute::ints("strides", &strides)];
        let made = self.node("MaxPool", vec![x], attributes);
        self.set_picture(op, made, true, [channels, size[0], size[1]]);
        Ok(())
    }

    /// Of two pictures, or of one and a number for each channel.
    fn add(&mut self, op: &Op) -> Result<(), String> {
        let Ok((biases, dims)) = self.floats(op, 1) else {
            let ((a, size), (b, other)) = (self.picture(op, 0, false)?, self.picture(op, 1, false)?);
            if size != other {
                return Err(format!("{size:?} and {other:?} do not go together"));
            }
            let made = self.node("Add", vec![a, b], vec![]);
            self.set_picture(op, made, false, size);
            return Ok(());
        };
        let (x, size) = self.picture(op, 0, true)?;
        if *dims != [size[0]] {
            return Err(format!("{dims:?} biases for {} channels", size[0]));
        }
        let biases = biases.to_vec();
        let biases = self.weight(&[size[0], 1, 1], &biases);
        let made = self.node("Add", vec![x, biases], vec![]);
        self.set_picture(op, made, true, size);
        Ok(())
    }

    fn leaky_relu(&mut self, op: &Op) -> Result<(), String> {
        let (x, size) = self.picture(op, 0, false)?;
        let slope = op.settings.get("alpha").and_then(|setting| setting.f).ok_or("its `alpha` is missing")?;
        let made = self.node("LeakyRelu", vec![x], vec![Attribute::float("alpha", slope)]);
        self.set_picture(op, made, false, size);
        Ok(())
    }

    fn concat(&mut self, op: &Op) -> Result<(), String> {
        let count = op.inputs.len().saturating_sub(1);
        if self.ints(op, count)? != [1] || count == 0 {
            return Err("only channels can be joined".into());
        }
        let parts: Vec<_> = (0..count).map(|position| self.picture(op, position, false)).collect::<Result<_, _>>()?;
        let [_, height, width] = parts[0].1;
        let channels = parts.iter().map(|(_, size)| size[0]).sum();
        if channels > MAX_CHANNELS || parts.iter().any(|(_, size)| size[1..] != [height, width]) {
            return Err("pictures that cannot be joined".into());
        }
        let names = parts.into_iter().map(|(name, _)| name).collect();
        let made = self.node("Concat", names, vec![Attribute::int("axis", 1)]);
        self.set_picture(op, made, false, [channels, height, width]);
        Ok(())
    }

    /// The size that the graph names becomes a scale: the network then takes pictures of any size.
    #[allow(clippy::cast_precision_loss, reason = "at most 2^13")]
    fn resize(&mut self, op: &Op) -> Result<(), String> {
        let (x, [channels, height, width]) = self.picture(op, 0, true)?;
        let size: Option<Vec<usize>> = self.ints(op, 1)?.iter().map(|side| usize::try_from(*side).ok()).collect();
        let Some(&[rows, columns]) = size.as_deref() else {
            return Err("a size without two sides".into());
        };
        if rows == 0 || columns == 0 || rows.max(columns) > MAX_SIDE || op.choice("align_corners") {
            return Err(format!("to {columns}x{rows}, or at the corners, is not known"));
        }
        let mode = if op.choice("half_pixel_centers") { "half_pixel" } else { "asymmetric" };
        let scales = [1.0, 1.0, rows as f32 / height as f32, columns as f32 / width as f32];
        let scales = self.weight(&[4], &scales);
        let attributes =
            vec![Attribute::text("coordinate_transformation_mode", mode), Attribute::text("mode", "linear")];
        let made = self.node("Resize", vec![x, String::new(), scales], attributes);
        self.set_picture(op, made, true, [channels, rows, columns]);
        Ok(())
    }

    fn split(&mut self, op: &Op) -> Result<(), String> {
        let (x, [channels, height, width]) = self.picture(op, 0, false)?;
        let sizes = self.ints(op, 1)?.to_vec();
        let parts: Option<Vec<usize>> = sizes.iter().map(|size| usize::try_from(*size).ok()).collect();
        let parts =
            parts.filter(|parts| parts.iter().try_fold(0, |sum: usize, c| sum.checked_add(*c)) == Some(channels));
        let parts = parts.ok_or_else(|| format!("{sizes:?} are not all {channels} channels"))?;
        if self.ints(op, 2)? != [1] {
            return Err("only channels can be split".into());
        }
        let sizes = self.sizes(&sizes);
        // As the graph calls them; the first has no number.
        let name = |index: usize| if index == 0 { op.name.clone() } else { format!("{}:{index}", op.name) };
        let names: Vec<String> = (0..parts.len()).map(|index| format!("{x}/{index}")).collect();
        self.node_of_several("Split", vec![x, sizes], names.clone(), vec![Attribute::int("axis", 1)]);
        for (index, (tensor, channels)) in names.into_iter().zip(parts).enumerate() {
            let size = [channels, height, width];
            self.set(&name(index), Made::Picture { name: tensor, interleaved: false, size });
        }
        Ok(())
    }

    fn sigmoid(&mut self, op: &Op) -> Result<(), String> {
        let Made::Picture { name, interleaved, size } = self.made(input(op, 0)?)? else {
            return Err("only of pictures is it known".into());
        };
        let made = self.node("Sigmoid", vec![name], vec![]);
        self.set_picture(op, made, interleaved, size);
        Ok(())
    }

    /// The pixels of a picture in one row.
    fn reshape(&mut self, op: &Op) -> Result<(), String> {
        let (x, [channels, ..]) = self.picture(op, 0, false)?;
        let shape = self.ints(op, 1)?;
        if *shape != [1, channels as i64, -1] {
            return Err(format!("{channels} channels as {shape:?} are not known"));
        }
        // Nothing stands for what was there.
        let shape = self.sizes(&[0, channels as i64, -1]);
        let made = self.node("Reshape", vec![x, shape], vec![]);
        self.set(&op.name, Made::Plain(made));
        Ok(())
    }

    fn identity(&mut self, op: &Op) -> Result<(), String> {
        let made = self.made(input(op, 0)?)?;
        self.set(&op.name, made);
        Ok(())
    }
}

/// Weights of a convolution by output, then by input, as ONNX has them.
pub(super) fn planes(numbers: &[f32], positions: usize, inputs: usize, out: usize) -> Vec<f32> {
    let at = |position: usize, input: usize, output: usize| numbers[(position * inputs + input) * out + output];
    (0..out)
        .flat_map(|output| (0..inputs).flat_map(move |input| (0..positions).map(move |p| (p, input, output))))
        .map(|(position, input, output)| at(position, input, output))
        .collect()
}

/// The strides of a window of that many rows and columns over a picture without padding, and the size of the result.
fn window(op: &Op, size: [usize; 2], kernel: [usize; 2]) -> Result<([usize; 2], [usize; 2]), String> {
    let [1, down, right, 1] = op.ints("strides")?[..] else { return Err("strides over pictures or channels".into()) };
    let strides = [down, right];
    if op.word("padding").as_deref() != Some("VALID") || strides.iter().any(|s| !(1..=MAX_STRIDE).contains(s)) {
        return Err("only windows without padding are known".into());
    }
    let side = |axis: usize| {
        let room = size[axis].checked_sub(kernel[axis]).filter(|_| kernel[axis] > 0);
        room.map(|room| room / strides[axis] + 1).ok_or("a window that does not fit")
    };
    Ok((strides, [side(0)?, side(1)?]))
}

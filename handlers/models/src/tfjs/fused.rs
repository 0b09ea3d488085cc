//! Operations of networks that were interleaved from the start, with what follows a convolution fused into it: MoveNet.

use super::graph::Op;
use super::layers::{MAX_CHANNELS, MAX_STRIDE, planes};
use super::network::{Made, Network, input};
use crate::onnx::Attribute;

impl Network {
    /// A convolution, of all channels or of each for itself, with biases and a limit where the graph fuses them.
    pub(super) fn fused_convolution(&mut self, op: &Op, each: bool) -> Result<(), String> {
        let (x, [channels, height, width]) = self.picture(op, 0, true)?;
        let (numbers, dims) = self.floats(op, 1)?;
        let [rows, columns, inputs, out] = *dims else { return Err("weights without four dimensions".into()) };
        let fits = inputs == channels && rows.min(columns).min(out) > 0 && (!each || out == 1);
        let dilated = op.ints("dilations").is_ok_and(|dilations| dilations != [1, 1, 1, 1]);
        if !fits || dilated || out > MAX_CHANNELS || op.word("data_format").is_some_and(|format| format != "NHWC") {
            return Err(format!("weights {dims:?} do not fit {channels}x{height}x{width}"));
        }
        let (inputs, out) = if each { (1, channels) } else { (inputs, out) };
        let turned = planes(numbers, rows * columns, inputs, out);
        let mut reads = vec![x, self.weight(&[out, inputs, rows, columns], &turned)];
        let fused = op.words("fused_ops");
        let limit = match fused.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] | ["BiasAdd"] => None,
            ["BiasAdd", "Relu"] => Some(f32::INFINITY),
            ["BiasAdd", "Relu6"] => Some(6.0),
            _ => return Err(format!("{fused:?} after a convolution is not known")),
        };
        if !fused.is_empty() {
            let (biases, dims) = self.floats(op, 2)?;
            if *dims != [out] {
                return Err(format!("{dims:?} biases for {out} channels"));
            }
            let biases = biases.to_vec();
            reads.push(self.weight(&[out], &biases));
        }
        let (strides, auto_pad, size) = window(op, [height, width], [rows, columns])?;
        let attributes = vec![
            Attribute::text("auto_pad", auto_pad),
            Attribute::int("group", if each { channels as i64 } else { 1 }),
            Attribute::ints("kernel_shape", &[rows, columns]),
            Attribute::ints("strides", &strides),
        ];
        let mut made = self.node("Conv", reads, attributes);
        if limit == Some(f32::INFINITY) {
            made = self.node("Relu", vec![made], vec![]);
        } else if let Some(limit) = limit {
            let bounds = [0.0, limit].map(|bound| self.weight(&[], &[bound]));
            let [least, most] = bounds;
            made = self.node("Clip", vec![made, least, most], vec![]);
        }
        self.set_picture(op, made, true, [out, size[0], size[1]]);
        Ok(())
    }

    /// Arithmetic of a picture and numbers: one, or one for each channel.
    pub(super) fn arithmetic(&mut self, op: &Op, kind: &str) -> Result<(), String> {
        let (x, size) = self.picture(op, 0, true)?;
        let (numbers, dims) = self.floats(op, 1)?;
        let last = dims.last().copied().unwrap_or(1);
        if numbers.len() != last || (last != 1 && last != size[0]) {
            return Err(format!("{dims:?} numbers for {} channels", size[0]));
        }
        let numbers = numbers.to_vec();
        let numbers = self.weight(&[last, 1, 1], &numbers);
        let made = self.node(kind, vec![x, numbers], vec![]);
        self.set_picture(op, made, true, size);
        Ok(())
    }

    /// Of two pictures.
    pub(super) fn add_pictures(&mut self, op: &Op) -> Result<(), String> {
        let ((a, size), (b, other)) = (self.picture(op, 0, true)?, self.picture(op, 1, true)?);
        if size != other {
            return Err(format!("{size:?} and {other:?} do not go together"));
        }
        let made = self.node("Add", vec![a, b], vec![]);
        self.set_picture(op, made, true, size);
        Ok(())
    }

    /// What leaves a picture as it is: other numbers for the same values, or its place in a list of one.
    pub(super) fn same_picture(&mut self, op: &Op) -> Result<(), String> {
        let made = self.made(input(op, 0)?)?;
        match made {
            Made::Picture { interleaved: true, .. } => self.set(&op.name, made),
            _ => return Err("only of whole pictures is it known".into()),
        }
        Ok(())
    }
}

/// The strides of a window, how it is padded, and the size of the result.
fn window(op: &Op, size: [usize; 2], kernel: [usize; 2]) -> Result<([usize; 2], &'static str, [usize; 2]), String> {
    let [1, down, right, 1] = op.ints("strides")?[..] else { return Err("strides over pictures or channels".into()) };
    let strides = [down, right];
    if strides.iter().any(|stride| !(1..=MAX_STRIDE).contains(stride)) {
        return Err(format!("strides of {strides:?}"));
    }
    let same = match op.word("padding").as_deref() {
        Some("SAME") => true,
        Some("VALID") => false,
        padding => return Err(format!("a padding of {padding:?} is not known")),
    };
    let side = |axis: usize| {
        let room = if same { size[axis].checked_sub(1) } else { size[axis].checked_sub(kernel[axis]) };
        room.map(|room| room / strides[axis] + 1).ok_or("a window that does not fit")
    };
    Ok((strides, if same { "SAME_UPPER" } else { "VALID" }, [side(0)?, side(1)?]))
}

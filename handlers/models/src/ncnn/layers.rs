//! The layers that are known, one function each, as ONNX operations. What a value of a layer means is in ncnn's
//! `docs/developer-guide/operators.md`.

use super::network::{Blob, Network};
use super::param::Layer;
use crate::onnx::Attribute;

/// Channels, far more than any known network has.
const MAX_CHANNELS: usize = 1 << 14;
const MAX_SIDE: usize = 1 << 14;
const MAX_KERNEL: usize = 31;
const MAX_STRIDE: usize = 16;
/// Nothing enlarges more in one step.
const MAX_SCALE: f32 = 16.0;

impl<'a> Network<'a> {
    /// Adds the operations of a layer.
    ///
    /// # Errors
    /// What is not known or does not fit.
    pub fn convert(&mut self, layer: &mut Layer<'a>) -> Result<(), String> {
        match layer.kind {
            "Input" => self.input(layer),
            "Split" => self.split(layer),
            "MemoryData" => self.constant(layer),
            "Convolution" => self.convolution(layer),
            "PReLU" => self.prelu(layer),
            "Sigmoid" => self.sigmoid(layer),
            "Swish" => self.swish(layer),
            "PixelShuffle" => self.pixel_shuffle(layer),
            "Interp" => self.resize(layer),
            "BinaryOp" => self.binary(layer),
            "Eltwise" => self.weighted_sum(layer),
            "Concat" => self.concat(layer),
            _ => Err("layers of this kind are not known".into()),
        }
    }

    fn input(&mut self, layer: &Layer<'a>) -> Result<(), String> {
        if std::mem::replace(&mut self.has_input, true) {
            return Err("a second input".into());
        }
        let [] = self.read(layer)?;
        self.made(layer, Blob { tensor: "input".into(), channels: 3 })
    }

    fn split(&mut self, layer: &Layer<'a>) -> Result<(), String> {
        let [blob] = self.read(layer)?;
        layer.outputs.iter().try_for_each(|name| self.insert(name, blob.clone()))
    }

    /// Numbers of one picture's shape.
    fn constant(&mut self, layer: &mut Layer<'a>) -> Result<(), String> {
        let [] = self.read(layer)?;
        let [w, h, c] = [layer.count(0, 0, MAX_SIDE)?, layer.count(1, 0, MAX_SIDE)?, layer.count(2, 0, MAX_CHANNELS)?];
        if w == 0 || h == 0 || c == 0 {
            return Err("only constants of three dimensions are known".into());
        }
        let numbers = self.weights.plain(w * h * c)?;
        let tensor = self.weight(&[1, c, h, w], &numbers);
        self.made(layer, Blob { tensor, channels: c })
    }

    fn convolution(&mut self, layer: &mut Layer<'a>) -> Result<(), String> {
        let [blob] = self.read(layer)?;
        let out = at_least_one(layer.count(0, 0, MAX_CHANNELS)?)?;
        let [kernel, dilations, strides] = [(1, 11, 0, MAX_KERNEL), (2, 12, 1, MAX_STRIDE), (3, 13, 1, MAX_STRIDE)]
            .map(|(w, h, default, most)| height_width(layer, w, h, default, most));
        let (kernel, dilations, strides) = (kernel?, dilations?, strides?);
        let left = layer.count(4, 0, MAX_KERNEL)?;
        let [right, top] = [layer.count(15, left, MAX_KERNEL)?, layer.count(14, left, MAX_KERNEL)?];
        let bottom = layer.count(16, top, MAX_KERNEL)?;
        let has_bias = layer.count(5, 0, 1)? == 1;
        let count = layer.count(6, 0, usize::MAX)?;
        if count != out * blob.channels * kernel[0] * kernel[1] {
            return Err(format!("{count} weights do not fit {} channels in and {out} out", blob.channels));
        }
        let weights = self.weights.tagged(count)?;
        let mut bias = if has_bias { Some(self.weights.plain(out)?) } else { None };
        let attributes = vec![
            Attribute::ints("dilations", &dilations),
            Attribute::ints("kernel_shape", &kernel),
            Attribute::ints("pads", &[top, left, bottom, right]),
            Attribute::ints("strides", &strides),
        ];
        // Of single pixels of joined channels: the sum over the parts, each once it is there, so that none of them waits
        // for the others in memory. Half of SPAN's goes by that.
        let parts = if kernel == [1, 1] { self.parts(&blob) } else { vec![(0, blob.clone())] };
        let mut sum: Option<String> = None;
        for (first, part) in parts {
            let rows = weights.chunks_exact(blob.channels * kernel[0] * kernel[1]);
            let own = first * kernel[0] * kernel[1]..(first + part.channels) * kernel[0] * kernel[1];
            let own: Vec<f32> = rows.flat_map(|row| &row[own.clone()]).copied().collect();
            let mut inputs = vec![part.tensor, self.weight(&[out, part.channels, kernel[0], kernel[1]], &own)];
            inputs.extend(bias.take().map(|bias| self.weight(&[out], &bias)));
            let term = self.node(layer, "Conv", inputs, attributes.clone());
            sum = Some(match sum {
                Some(sum) => self.node(layer, "Add", vec![term, sum], vec![]),
                None => term,
            });
        }
        let tensor = self.activation(layer, sum.unwrap_or_default())?;
        self.made(layer, Blob { tensor, channels: out })
    }

    /// What a convolution does with its sums.
    fn activation(&mut self, layer: &mut Layer<'a>, sum: String) -> Result<String, String> {
        let (kind, values) = (layer.count(9, 0, 64)?, layer.reals(10)?);
        match (kind, &values[..]) {
            (0, []) => Ok(sum),
            (1, []) => Ok(self.node(layer, "Relu", vec![sum], vec![])),
            (2, [slope]) => Ok(self.node(layer, "LeakyRelu", vec![sum], vec![Attribute::float("alpha", *slope)])),
            _ => Err(format!("an activation of kind {kind} with {} values is not known", values.len())),
        }
    }

    fn prelu(&mut self, layer: &mut Layer<'a>) -> Result<(), String> {
        let [blob] = self.read(layer)?;
        let count = layer.count(0, 0, MAX_CHANNELS)?;
        if count != blob.channels && count != 1 {
            return Err(format!("{count} slopes do not fit {} channels", blob.channels));
        }
        let slopes = self.weights.plain(count)?;
        let slopes = self.weight(&[count, 1, 1], &slopes);
        let tensor = self.node(layer, "PRelu", vec![blob.tensor, slopes], vec![]);
        self.made(layer, Blob { tensor, channels: blob.channels })
    }

    fn sigmoid(&mut self, layer: &Layer<'a>) -> Result<(), String> {
        let [blob] = self.read(layer)?;
        let tensor = self.node(layer, "Sigmoid", vec![blob.tensor], vec![]);
        self.made(layer, Blob { tensor, channels: blob.channels })
    }

    /// x * sigmoid(x).
    fn swish(&mut self, layer: &Layer<'a>) -> Result<(), String> {
        let [blob] = self.read(layer)?;
        let sigmoid = self.node(layer, "Sigmoid", vec![blob.tensor.clone()], vec![]);
        let tensor = self.node(layer, "Mul", vec![blob.tensor, sigmoid], vec![]);
        self.made(layer, Blob { tensor, channels: blob.channels })
    }

    fn pixel_shuffle(&mut self, layer: &mut Layer<'a>) -> Result<(), String> {
        let [blob] = self.read(layer)?;
        let scale = at_least_one(layer.count(0, 1, MAX_STRIDE)?)?;
        if blob.channels % (scale * scale) != 0 {
            return Err(format!("{} channels do not make pictures {scale} times as large", blob.channels));
        }
        let attributes = vec![Attribute::int("blocksize", scale as i64), Attribute::text("mode", "CRD")];
        let tensor = self.node(layer, "DepthToSpace", vec![blob.tensor], attributes);
        self.made(layer, Blob { tensor, channels: blob.channels / (scale * scale) })
    }

    fn resize(&mut self, layer: &mut Layer<'a>) -> Result<(), String> {
        let [blob] = self.read(layer)?;
        let mut attributes = vec![Attribute::text("coordinate_transformation_mode", "half_pixel")];
        match layer.count(0, 0, 64)? {
            1 => {
                attributes = vec![
                    Attribute::text("coordinate_transformation_mode", "asymmetric"),
                    Attribute::text("mode", "nearest"),
                    Attribute::text("nearest_mode", "floor"),
                ];
            }
            2 => attributes.push(Attribute::text("mode", "linear")),
            3 => attributes.extend([Attribute::float("cubic_coeff_a", -0.75), Attribute::text("mode", "cubic")]),
            kind => return Err(format!("a resize of kind {kind} is not known")),
        }
        let scales = [layer.real(1, 1.0)?, layer.real(2, 1.0)?];
        if scales.iter().any(|scale| *scale <= 0.0 || *scale > MAX_SCALE) {
            return Err(format!("a scale of {scales:?} is out of range"));
        }
        let scales = self.weight(&[4], &[1.0, 1.0, scales[0], scales[1]]);
        // The region of interest is left out.
        let tensor = self.node(layer, "Resize", vec![blob.tensor, String::new(), scales], attributes);
        self.made(layer, Blob { tensor, channels: blob.channels })
    }

    /// Arithmetic of two blobs, or of one and a number.
    fn binary(&mut self, layer: &mut Layer<'a>) -> Result<(), String> {
        let operation = match layer.count(0, 0, 64)? {
            0 => "Add",
            1 => "Sub",
            2 => "Mul",
            3 => "Div",
            kind => return Err(format!("an operation of kind {kind} is not known")),
        };
        let (inputs, channels) = if layer.count(1, 0, 1)? == 1 {
            let [blob] = self.read(layer)?;
            let number = layer.real(2, 0.0)?;
            (vec![blob.tensor, self.weight(&[], &[number])], blob.channels)
        } else {
            let [a, b] = self.read(layer)?;
            let channels = a.channels.max(b.channels);
            if [a.channels, b.channels].iter().any(|c| *c != 1 && *c != channels) {
                return Err(format!("{} and {} channels do not go together", a.channels, b.channels));
            }
            (vec![a.tensor, b.tensor], channels)
        };
        let tensor = self.node(layer, operation, inputs, vec![]);
        self.made(layer, Blob { tensor, channels })
    }

    fn weighted_sum(&mut self, layer: &mut Layer<'a>) -> Result<(), String> {
        let kind = layer.count(0, 0, 64)?;
        if kind != 1 {
            return Err(format!("an operation of kind {kind} is not known"));
        }
        let [a, b] = self.read(layer)?;
        if a.channels != b.channels {
            return Err(format!("{} and {} channels do not go together", a.channels, b.channels));
        }
        let factors = match layer.reals(1)?[..] {
            [] => [1.0; 2],
            [a, b] => [a, b],
            _ => return Err("as many factors as inputs are needed".into()),
        };
        let channels = a.channels;
        let terms =
            [a, b].into_iter().zip(factors).map(|(blob, factor)| self.times(layer, blob.tensor, factor)).collect();
        let tensor = self.node(layer, "Add", terms, vec![]);
        self.made(layer, Blob { tensor, channels })
    }

    fn times(&mut self, layer: &Layer<'_>, tensor: String, factor: f32) -> String {
        if factor == 1.0 {
            return tensor;
        }
        let factor = self.weight(&[], &[factor]);
        self.node(layer, "Mul", vec![tensor, factor], vec![])
    }

    /// Joins channels.
    fn concat(&mut self, layer: &mut Layer<'a>) -> Result<(), String> {
        layer.count(0, 0, 0).map_err(|_| "only channels can be joined")?;
        let blobs = self.read_all(layer)?;
        let channels = blobs.iter().map(|blob| blob.channels).sum();
        if blobs.is_empty() || channels > MAX_CHANNELS {
            return Err(format!("{channels} channels cannot be joined"));
        }
        let tensors = blobs.iter().map(|blob| blob.tensor.clone()).collect();
        // Counted with the batch, that ncnn does not have.
        let tensor = self.node(layer, "Concat", tensors, vec![Attribute::int("axis", 1)]);
        self.joined.insert(tensor.clone(), blobs);
        self.made(layer, Blob { tensor, channels })
    }
}

/// A height and a width, as ONNX has them; the height is the width where the text has none.
fn height_width(
    layer: &mut Layer<'_>,
    width: i32,
    height: i32,
    default: usize,
    most: usize,
) -> Result<[usize; 2], String> {
    let width = at_least_one(layer.count(width, default, most)?)?;
    Ok([at_least_one(layer.count(height, width, most)?)?, width])
}

fn at_least_one(count: usize) -> Result<usize, String> {
    if count == 0 { Err("a size of nothing".into()) } else { Ok(count) }
}

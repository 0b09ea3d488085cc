//! RVM's refiner in a graph, and how to take its last step out.
//!
//! The network works on a small picture. Its deep guided filter (Wu et al., "Fast End-to-End Trainable Guided Filter",
//! CVPR 2018) ends with a linear model of each pixel, `colour * slope + offset`, whose coefficients are found on the small
//! picture and enlarged to the frame. That last step is half of the CPU time of the whole graph in ONNX Runtime, which
//! makes one full-size tensor after the other; [`super::guided`] does it in one pass over bands of rows.
//!
//! What is left is two halves: up to the state of the next frame, and from there to the coefficients. Only the first one
//! has to wait for the frame before, so that the second half of a frame is computed beside the first half of the next.

use darkroom_inference::{Graph, Node, TensorInfo};

use super::layout::{RATIO, STATE_OUT};

/// What a detached graph gives.
const DETACHED: [&str; 6] = [STATE_OUT[0], STATE_OUT[1], STATE_OUT[2], STATE_OUT[3], SLOPE, OFFSET];

/// Output in the place of `fgr`: slopes of red, green, blue and alpha on the small picture.
pub const SLOPE: &str = "refiner_slope";
/// Output in the place of `pha`: the offsets.
pub const OFFSET: &str = "refiner_offset";

/// Leaves out what enlarges and applies the coefficients. `src` is then the small picture, with a ratio of 1.
pub fn detach(graph: &mut Graph) -> bool {
    let Some((slope, offset)) = coefficients(graph) else { return false };
    if !graph.replace_outputs(&[("fgr", &slope, SLOPE), ("pha", &offset, OFFSET)]) {
        return false;
    }
    // Outputs that nobody asks for are not computed.
    graph.end_at(&DETACHED);
    // What is left must see the frame through the ratio alone, which is 1 from now on.
    graph.readers(RATIO).next().is_some() && graph.readers("src").all(|node| node.op_type == "Resize")
}

/// Leaves the first half of a detached graph: outputs are the state, and what the second half reads.
pub fn first_half(graph: &mut Graph) -> bool {
    if !detach(graph) {
        return false;
    }
    let Some(mut outputs) = graph.seam(&STATE_OUT) else { return false };
    outputs.retain(|name| !STATE_OUT.contains(&name.as_str()));
    let outputs: Vec<&str> = STATE_OUT.into_iter().chain(outputs.iter().map(String::as_str)).collect();
    graph.end_at(&outputs);
    true
}

/// Leaves the second half, whose inputs are what the first one, with these outputs, gives it.
pub fn second_half(graph: &mut Graph, outputs: &[TensorInfo]) -> bool {
    if !detach(graph) {
        return false;
    }
    let Some(seam) = graph.seam(&STATE_OUT) else { return false };
    let inputs: Vec<TensorInfo> = outputs.iter().filter(|info| seam.contains(&info.name)).cloned().collect();
    graph.end_at(&[SLOPE, OFFSET]);
    graph.begin_at(&inputs);
    inputs.iter().all(|info| info.element.is_some())
}

/// The tensors that hold the coefficients, where the graph ends exactly as RVM's does:
/// `fgr, pha = clip(split(resize(slope) * concat(src, mean(src)) + resize(offset)) + (src, 0))`.
fn coefficients(graph: &Graph) -> Option<(String, String)> {
    let made_by = |tensor: &str, op: &str| graph.producer(tensor).filter(|node| node.op_type == op);
    let either = |node: &Node, first: &str, second: &str| -> Option<(String, String)> {
        let [a, b] = &node.inputs[..] else { return None };
        let fits = |x: &str, y: &str| {
            made_by(x, first).is_some() && (second == "src" && y == "src" || made_by(y, second).is_some())
        };
        [(a, b), (b, a)].into_iter().find(|(x, y)| fits(x, y)).map(|(x, y)| (x.clone(), y.clone()))
    };
    let (residual, _) = either(made_by(made_by("fgr", "Clip")?.inputs.first()?, "Add")?, "Split", "src")?;
    let split = made_by(&residual, "Split")?;
    let alpha = made_by("pha", "Clip")?.inputs.first()?;
    let axis = split.attribute("axis").map_or(0, |axis| axis.i());
    if split.outputs[..] != [residual, alpha.clone()] || ![1, -3].contains(&axis) {
        return None;
    }
    let (product, offset) = either(made_by(split.inputs.first()?, "Add")?, "Mul", "Resize")?;
    let (slope, guide) = either(made_by(&product, "Mul")?, "Resize", "Concat")?;
    let guide = made_by(&guide, "Concat")?;
    let mean = guide.inputs.get(1)?;
    if guide.inputs.first()? != "src" || made_by(mean, "ReduceMean")?.inputs.first()? != "src" {
        return None;
    }
    let enlarged = |tensor: &str| made_by(tensor, "Resize").filter(|node| is_bilinear(node))?.inputs.first().cloned();
    Some((enlarged(&slope)?, enlarged(&offset)?))
}

/// Whether pixels are interpolated between their centres.
fn is_bilinear(resize: &Node) -> bool {
    let text = |name: &str| resize.attribute(name).and_then(|attribute| attribute.s).unwrap_or_default();
    let by_centres: [&[u8]; 2] = [b"pytorch_half_pixel", b"half_pixel"];
    text("mode") == b"linear" && by_centres.contains(&&text("coordinate_transformation_mode")[..])
}

//! BVH: a skeleton and its motion as text, in centimetres and degrees.

use std::io::{self, Write};

use glam::{EulerRot, Vec3};

use super::motion::{Motion, Shaped, turned, turned_rotation};

const CM: f32 = 100.0;
/// End sites shorter than this in metres are given it: bones without a length cannot be seen in editors.
const SHORTEST: f32 = 0.01;

/// Writes one person's motion. Channels are Z, X and Y rotations, applied in that order from left to right; the first
/// joint has its position before them.
///
/// The format has one time between frames: it is that of `fps`. Frames that the motion leaves out are not made up.
///
/// # Errors
/// Those of `out`; `InvalidData` for poses of another body or not finite.
pub fn write_bvh(mut out: impl Write, shape: &Shaped, motion: &Motion<'_>) -> io::Result<()> {
    motion.check(shape.bones.len())?;
    writeln!(out, "HIERARCHY")?;
    let mut order = Vec::with_capacity(shape.bones.len());
    joint(&mut out, shape, 0, 0, &mut order)?;
    writeln!(out, "MOTION\nFrames: {}\nFrame Time: {:.9}", motion.frames.len(), 1.0 / motion.fps)?;
    let mut last = vec![[0.0; 3]; shape.bones.len()];
    for frame in motion.frames {
        let at = turned(frame.pose.translation) * CM;
        write!(out, "{:.4} {:.4} {:.4}", at.x, at.y, at.z)?;
        for bone in &order {
            let turn = turned_rotation(frame.pose.rotations[*bone]).as_dquat();
            let (z, x, y) = turn.to_euler(EulerRot::ZXY);
            let angles = [z, x, y].map(f64::to_degrees);
            for (angle, last) in angles.into_iter().zip(&mut last[*bone]) {
                // The same angle nearest to the frame before: curves that editors can smooth.
                *last = angle + ((*last - angle) / 360.0).round() * 360.0;
                write!(out, " {last:.5}")?;
            }
        }
        writeln!(out)?;
    }
    out.flush()
}

/// Writes a joint and all below it; notes the order of their channels. Bodies have few enough bones for recursion.
fn joint(out: &mut impl Write, shape: &Shaped, bone: usize, depth: usize, order: &mut Vec<usize>) -> io::Result<()> {
    order.push(bone);
    let (pad, this) = ("  ".repeat(depth), &shape.bones[bone]);
    // Where the first joint is stands in each frame.
    let offset = if depth == 0 { Vec3::ZERO } else { shape.offset(bone) };
    let (kind, channels) = if depth == 0 { ("ROOT", "6 Xposition Yposition Zposition") } else { ("JOINT", "3") };
    writeln!(out, "{pad}{kind} {}\n{pad}{{\n{pad}  OFFSET {}", this.name, centimetres(offset))?;
    writeln!(out, "{pad}  CHANNELS {channels} Zrotation Xrotation Yrotation")?;
    let mut end = true;
    for child in 0..shape.bones.len() {
        if shape.bones[child].parent == Some(bone) {
            end = false;
            joint(out, shape, child, depth + 1, order)?;
        }
    }
    if end {
        let tip = this.tail - this.head;
        let tip = if tip.length() < SHORTEST { Vec3::NEG_Y * SHORTEST } else { tip };
        writeln!(out, "{pad}  End Site\n{pad}  {{\n{pad}    OFFSET {}\n{pad}  }}", centimetres(tip))?;
    }
    writeln!(out, "{pad}}}")
}

fn centimetres(metres: Vec3) -> String {
    let at = turned(metres) * CM;
    format!("{:.5} {:.5} {:.5}", at.x, at.y, at.z)
}

#[cfg(test)]
mod tests {
    use glam::{DMat3, DVec3};

    use super::super::motion::tests::{moving, posed};
    use super::*;

    struct Parsed {
        names: Vec<String>,
        parents: Vec<Option<usize>>,
        offsets: Vec<DVec3>,
        frames: Vec<Vec<f64>>,
        frame_time: f64,
    }

    /// A reader that knows of the format only, not of the writer.
    fn parse(text: &str) -> Parsed {
        let (head, motion) = text.split_once("MOTION").unwrap();
        let mut words = head.split_whitespace();
        assert_eq!(words.next(), Some("HIERARCHY"));
        let mut parsed = Parsed { names: vec![], parents: vec![], offsets: vec![], frames: vec![], frame_time: 0.0 };
        let (mut open, mut site): (Vec<usize>, bool) = (vec![], false);
        while let Some(word) = words.next() {
            match word {
                "ROOT" | "JOINT" => {
                    parsed.names.push(words.next().unwrap().into());
                    parsed.parents.push(open.last().copied());
                    open.push(parsed.names.len() - 1);
                }
                "End" => (site, _) = (true, words.next()),
                "OFFSET" => {
                    let numbers: Vec<f64> = words.by_ref().take(3).map(|w| w.parse().unwrap()).collect();
                    if !site {
                        parsed.offsets.push(DVec3::from_slice(&numbers));
                    }
                }
                "CHANNELS" => {
                    let count: usize = words.next().unwrap().parse().unwrap();
                    let names: Vec<&str> = words.by_ref().take(count).collect();
                    let want = ["Xposition", "Yposition", "Zposition", "Zrotation", "Xrotation", "Yrotation"];
                    assert_eq!(names, if open.len() == 1 { &want[..] } else { &want[3..] });
                }
                "{" => {}
                "}" if site => site = false,
                "}" => drop(open.pop()),
                other => panic!("{other}"),
            }
        }
        assert!(open.is_empty());
        let mut lines = motion.trim().lines();
        let count: usize = lines.next().unwrap().strip_prefix("Frames: ").unwrap().parse().unwrap();
        parsed.frame_time = lines.next().unwrap().strip_prefix("Frame Time: ").unwrap().parse().unwrap();
        parsed.frames = lines.map(|l| l.split(' ').map(|w| w.parse().unwrap()).collect()).collect();
        assert_eq!(parsed.frames.len(), count);
        parsed
    }

    #[test]
    fn joints_of_a_file_are_where_forward_kinematics_puts_them() {
        let (_, shape, frames) = moving();
        let mut bytes = Vec::new();
        write_bvh(&mut bytes, &shape, &Motion { frames: &frames, fps: 25.0 }).unwrap();
        let parsed = parse(std::str::from_utf8(&bytes).unwrap());
        assert!((parsed.frame_time - 0.04).abs() < 1e-9);
        assert_eq!(parsed.names.len(), shape.bones.len());
        for (frame, numbers) in frames.iter().zip(&parsed.frames) {
            assert_eq!(numbers.len(), 3 + 3 * parsed.names.len());
            let (joints, _) = posed(&shape, &frame.pose);
            let (mut heads, mut turns): (Vec<DVec3>, Vec<DMat3>) = (vec![], vec![]);
            for (i, angles) in numbers[3..].chunks(3).enumerate() {
                let [z, x, y] = [angles[0], angles[1], angles[2]].map(f64::to_radians);
                let local = DMat3::from_rotation_z(z) * DMat3::from_rotation_x(x) * DMat3::from_rotation_y(y);
                let (head, turn) = match parsed.parents[i] {
                    None => (DVec3::from_slice(&numbers[..3]) + parsed.offsets[i], local),
                    Some(p) => (heads[p] + turns[p] * parsed.offsets[i], turns[p] * local),
                };
                heads.push(head);
                turns.push(turn);
                let bone = shape.bones.iter().position(|b| b.name == parsed.names[i]).unwrap();
                let off = head.distance(turned(joints[bone]).as_dvec3() * 100.0);
                // Centimetres.
                assert!(off < 1e-2, "{} is {off} cm off", parsed.names[i]);
            }
        }
        // No curve jumps from one side of the circle to the other.
        let jump = parsed.frames.windows(2).flat_map(|w| (3..w[0].len()).map(|i| (w[0][i] - w[1][i]).abs()));
        assert!(jump.fold(0.0, f64::max) <= 180.0);
    }
}

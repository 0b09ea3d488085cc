//! `poses.npz`: everybody's motion as arrays, named as in AMASS.

use std::io::{self, Seek, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::motion::{Motion, invalid};

/// What the arrays tell beside the motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amass<'a> {
    /// SMPL's shape; empty for another body.
    pub betas: &'a [f32],
    /// `neutral`, `male` or `female`.
    pub gender: &'a str,
    /// Names of the bones in the order of `poses`.
    pub bones: &'a [&'a str],
}

/// Above this a ZIP entry needs 64 bit sizes.
const LARGE_BYTES: u64 = u32::MAX as u64 / 2;

/// Writes `trans` [T, 3] and `poses` [T, 3 x bones] (rotations as axis times angle), both f32 and in the camera's frame,
/// `betas`, `gender`, `mocap_framerate`, and beside what AMASS has `track_ids` [T], `frame_indices` [T] (of the video) and
/// `bone_names`. People, each with the number of their track, come one after the other: of one person alone it is what AMASS
/// has.
///
/// # Errors
/// Those of `out`; `InvalidData` for poses of other bones or not finite.
pub fn write_npz<W: Write + Seek>(out: W, people: &[(u32, Motion<'_>)], facts: &Amass<'_>) -> io::Result<W> {
    let bones = facts.bones.len();
    people.iter().try_for_each(|(_, motion)| motion.check(bones))?;
    let fps = people.first().map(|(_, motion)| motion.fps).ok_or_else(|| invalid("no motion"))?;
    if !facts.betas.iter().all(|b| b.is_finite()) {
        return Err(invalid("a shape that is not finite"));
    }
    let mut npz = Npz { zip: ZipWriter::new(out) };
    let frames = || people.iter().flat_map(|(_, motion)| motion.frames);
    let count = frames().count();
    npz.array("trans", "<f4", &[count, 3], frames().flat_map(|f| f.pose.translation.to_array()).map(f32::to_le_bytes))?;
    let turns = frames().flat_map(|f| f.pose.rotations.iter()).flat_map(|q| {
        // The shorter of the two ways round; single precision has no exact angle of a small one.
        let q = q.as_dquat().normalize();
        let axis = if q.w < 0.0 { -q } else { q }.to_scaled_axis();
        axis.as_vec3().to_array()
    });
    npz.array("poses", "<f4", &[count, 3 * bones], turns.map(f32::to_le_bytes))?;
    npz.array("betas", "<f4", &[facts.betas.len()], facts.betas.iter().map(|b| b.to_le_bytes()))?;
    npz.text("gender", &[], &[facts.gender])?;
    npz.array("mocap_framerate", "<f8", &[], [fps.to_le_bytes()])?;
    let tracks =
        people.iter().flat_map(|(track, motion)| motion.frames.iter().map(|_| i64::from(*track).to_le_bytes()));
    npz.array("track_ids", "<i8", &[count], tracks)?;
    npz.array("frame_indices", "<i8", &[count], frames().map(|f| f.index.to_le_bytes()))?;
    npz.text("bone_names", &[bones], facts.bones)?;
    Ok(npz.zip.finish()?)
}

struct Npz<W: Write + Seek> {
    zip: ZipWriter<W>,
}

impl<W: Write + Seek> Npz<W> {
    /// An array of numbers, given as their bytes in the order of C.
    fn array<const N: usize>(
        &mut self,
        name: &str,
        kind: &str,
        shape: &[usize],
        values: impl IntoIterator<Item = [u8; N]>,
    ) -> io::Result<()> {
        let bytes = shape.iter().fold(N as u64, |bytes, n| bytes.saturating_mul(*n as u64));
        let options = SimpleFileOptions::default().large_file(bytes > LARGE_BYTES);
        self.zip.start_file(format!("{name}.npy"), options)?;
        self.zip.write_all(&header(kind, shape)?)?;
        // The compressor is fed in pieces: a call for each number would cost more than the work.
        let mut piece = Vec::with_capacity(1 << 14);
        for value in values {
            piece.extend_from_slice(&value);
            if piece.len() >= (1 << 14) - N {
                self.zip.write_all(&piece)?;
                piece.clear();
            }
        }
        self.zip.write_all(&piece)
    }

    /// Strings, each padded to the longest; as code points of four bytes.
    fn text(&mut self, name: &str, shape: &[usize], texts: &[&str]) -> io::Result<()> {
        let longest = texts.iter().map(|t| t.chars().count()).max().unwrap_or(0).max(1);
        let padded = |text: &&str| {
            let points: Vec<u32> = text.chars().map(u32::from).chain(std::iter::repeat(0)).take(longest).collect();
            points.into_iter().map(u32::to_le_bytes)
        };
        self.array(name, &format!("<U{longest}"), shape, texts.iter().flat_map(padded))
    }
}

/// The beginning of an array's file, version 1.0 of the format: the data begin at a multiple of 64.
fn header(kind: &str, shape: &[usize]) -> io::Result<Vec<u8>> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let sizes: String = shape.iter().map(|n| format!("{n}, ")).collect();
    // A tuple of one needs its comma, others may have it.
    let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    let full = (MAGIC.len() + 2 + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', full - MAGIC.len() - 2 - text.len() - 1));
    text.push('\n');
    let length = u16::try_from(text.len()).map_err(|_| invalid("an array of too many dimensions"))?;
    Ok([MAGIC, &length.to_le_bytes(), text.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use glam::{Quat, Vec3};

    use super::super::motion::tests::moving;
    use super::*;

    /// Header and data of an entry.
    fn entry(bytes: &[u8], name: &str) -> (String, Vec<u8>) {
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut all = Vec::new();
        archive.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(&all[..8], b"\x93NUMPY\x01\x00");
        let end = 10 + usize::from(u16::from_le_bytes([all[8], all[9]]));
        assert!(end.is_multiple_of(64) && all[end - 1] == b'\n');
        let data = all.split_off(end);
        (String::from_utf8(all[10..].to_vec()).unwrap(), data)
    }

    fn floats(data: &[u8]) -> Vec<f32> {
        data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    #[test]
    fn arrays_are_read_back() {
        let (body, _, frames) = moving();
        let names: Vec<&str> = body.bones().iter().map(|b| b.name.as_str()).collect();
        let facts = Amass { betas: &[0.5, -1.0], gender: "neutral", bones: &names };
        let motion = Motion { frames: &frames, fps: 25.0 };
        let second = Motion { frames: &frames[3..5], fps: 25.0 };
        let alone = write_npz(Cursor::new(Vec::new()), &[(7, second)], &facts).unwrap().into_inner();
        let bytes = write_npz(Cursor::new(Vec::new()), &[(2, motion), (7, second)], &facts).unwrap().into_inner();
        let (tracks, indices) = (entry(&bytes, "track_ids").1, entry(&bytes, "frame_indices").1);
        assert_eq!(
            (tracks.len(), &tracks[24 * 8..26 * 8]),
            (27 * 8, [2_i64.to_le_bytes(), 7_i64.to_le_bytes()].as_flattened())
        );
        assert_eq!(indices[25 * 8..], entry(&alone, "frame_indices").1);
        let bytes = write_npz(Cursor::new(Vec::new()), &[(2, motion)], &facts).unwrap().into_inner();

        let (head, data) = entry(&bytes, "poses");
        assert!(head.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (25, 159,), }"), "{head}");
        let turns = floats(&data);
        for (frame, turns) in frames.iter().zip(turns.chunks(159)) {
            for (q, axis) in frame.pose.rotations.iter().zip(turns.as_chunks::<3>().0) {
                let back = Quat::from_scaled_axis(Vec3::from_array(*axis));
                assert!(back.dot(*q).abs() > 1.0 - 1e-6 && Vec3::from_array(*axis).length() < 3.1417, "{back} {q}");
            }
        }
        let (head, data) = entry(&bytes, "trans");
        assert!(head.contains("'shape': (25, 3,)"), "{head}");
        assert_eq!(floats(&data)[72..75], frames[24].pose.translation.to_array());
        assert_eq!(floats(&entry(&bytes, "betas").1), [0.5, -1.0]);
        let (head, data) = entry(&bytes, "mocap_framerate");
        assert!(head.contains("'<f8'") && head.contains("'shape': ()"), "{head}");
        assert_eq!(data, 25_f64.to_le_bytes());
        let (head, data) = entry(&bytes, "gender");
        assert!(head.contains("'<U7'") && data.len() == 28 && data[0] == b'n');
        assert_eq!(entry(&bytes, "frame_indices").1[..8], 4_i64.to_le_bytes());
        assert_eq!(entry(&bytes, "bone_names").1.len(), 53 * 4 * names.iter().map(|n| n.len()).max().unwrap());
    }

    #[test]
    fn motions_that_do_not_fit_are_refused() {
        let (body, _, mut frames) = moving();
        let names: Vec<&str> = body.bones().iter().map(|b| b.name.as_str()).collect();
        let facts = Amass { betas: &[], gender: "neutral", bones: &names };
        let write = |frames: &[super::super::PosedFrame], facts: &Amass<'_>| {
            write_npz(Cursor::new(Vec::new()), &[(1, Motion { frames, fps: 25.0 })], facts).is_ok()
        };
        assert!(write(&frames, &facts) && !write(&[], &facts));
        assert!(!write(&frames, &Amass { bones: &names[1..], ..facts }));
        frames.swap(3, 4);
        assert!(!write(&frames, &facts));
        frames.swap(3, 4);
        frames[7].pose.translation.x = f32::NAN;
        assert!(!write(&frames, &facts));
    }
}

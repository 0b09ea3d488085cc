//! A body for tests: the joints of the CC0 body to a millimetre, and rings of skin about its bones.

use glam::Vec3;

use super::asset::{Body, Bone, Influences, Region, stretch};

/// Corners of the ring at each end of a bone.
const RING: u32 = 6;
/// Landmarks of the surface that a fit needs: nose, ears, heels and tips of the feet.
const TIPS: [(&str, [f32; 3]); 7] = [
    ("head", [0.0, -0.700, -0.160]),
    ("head", [0.083, -0.730, -0.033]),
    ("head", [-0.083, -0.730, -0.033]),
    ("foot_l", [0.184, 0.797, 0.027]),
    ("foot_r", [-0.184, 0.797, 0.027]),
    ("ball_l", [0.158, 0.804, -0.205]),
    ("ball_r", [-0.158, 0.804, -0.205]),
];

/// Name, parent, head and tail of each bone.
#[rustfmt::skip]
const BONES: [(&str, i32, [f32; 3], [f32; 3]); 53] = [
    ("Root", -1, [0.000, 0.818, 0.027], [-0.001, 0.817, -0.027]),
    ("pelvis", 0, [0.000, -0.056, -0.013], [0.000, -0.136, 0.026]),
    ("thigh_l", 1, [0.101, -0.048, -0.005], [0.142, 0.343, -0.037]),
    ("calf_l", 2, [0.142, 0.343, -0.037], [0.181, 0.749, -0.023]),
    ("foot_l", 3, [0.181, 0.749, -0.023], [0.186, 0.809, -0.139]),
    ("ball_l", 4, [0.186, 0.809, -0.139], [0.182, 0.806, -0.205]),
    ("thigh_r", 1, [-0.101, -0.048, -0.005], [-0.142, 0.343, -0.037]),
    ("calf_r", 6, [-0.142, 0.343, -0.037], [-0.181, 0.749, -0.023]),
    ("foot_r", 7, [-0.181, 0.749, -0.023], [-0.186, 0.809, -0.139]),
    ("ball_r", 8, [-0.186, 0.809, -0.139], [-0.182, 0.806, -0.205]),
    ("spine_01", 1, [0.000, -0.136, 0.026], [0.000, -0.202, 0.010]),
    ("spine_02", 10, [0.000, -0.202, 0.010], [0.000, -0.277, 0.008]),
    ("spine_03", 11, [0.000, -0.277, 0.008], [0.000, -0.421, 0.019]),
    ("clavicle_l", 12, [0.023, -0.525, -0.022], [0.170, -0.502, -0.019]),
    ("clavicle_r", 12, [-0.023, -0.525, -0.022], [-0.170, -0.502, -0.019]),
    ("upperarm_l", 13, [0.170, -0.502, -0.019], [0.331, -0.322, -0.020]),
    ("lowerarm_l", 15, [0.331, -0.322, -0.020], [0.453, -0.197, -0.183]),
    ("hand_l", 16, [0.453, -0.197, -0.183], [0.464, -0.182, -0.209]),
    ("upperarm_r", 14, [-0.170, -0.502, -0.019], [-0.331, -0.322, -0.020]),
    ("lowerarm_r", 18, [-0.331, -0.322, -0.020], [-0.453, -0.197, -0.183]),
    ("hand_r", 19, [-0.453, -0.197, -0.183], [-0.464, -0.182, -0.209]),
    ("neck_01", 12, [0.000, -0.596, -0.005], [0.000, -0.697, -0.044]),
    ("head", 21, [0.000, -0.697, -0.044], [0.000, -0.845, -0.037]),
    ("index_01_l", 17, [0.481, -0.157, -0.278], [0.484, -0.142, -0.298]),
    ("index_01_r", 20, [-0.481, -0.157, -0.278], [-0.484, -0.142, -0.298]),
    ("index_02_l", 23, [0.484, -0.142, -0.298], [0.484, -0.125, -0.315]),
    ("index_02_r", 24, [-0.484, -0.142, -0.298], [-0.484, -0.125, -0.315]),
    ("index_03_l", 25, [0.484, -0.125, -0.315], [0.480, -0.105, -0.332]),
    ("index_03_r", 26, [-0.484, -0.125, -0.315], [-0.480, -0.105, -0.332]),
    ("middle_01_l", 17, [0.497, -0.146, -0.260], [0.505, -0.120, -0.280]),
    ("middle_01_r", 20, [-0.497, -0.146, -0.260], [-0.505, -0.120, -0.280]),
    ("middle_02_l", 29, [0.505, -0.120, -0.280], [0.507, -0.098, -0.297]),
    ("middle_02_r", 30, [-0.505, -0.120, -0.280], [-0.507, -0.098, -0.297]),
    ("middle_03_l", 31, [0.507, -0.098, -0.297], [0.507, -0.076, -0.312]),
    ("middle_03_r", 32, [-0.507, -0.098, -0.297], [-0.507, -0.076, -0.312]),
    ("pinky_01_l", 17, [0.506, -0.130, -0.223], [0.512, -0.110, -0.231]),
    ("pinky_01_r", 20, [-0.506, -0.130, -0.223], [-0.512, -0.110, -0.231]),
    ("pinky_02_l", 35, [0.512, -0.110, -0.231], [0.514, -0.096, -0.237]),
    ("pinky_02_r", 36, [-0.512, -0.110, -0.231], [-0.514, -0.096, -0.237]),
    ("pinky_03_l", 37, [0.514, -0.096, -0.237], [0.517, -0.078, -0.243]),
    ("pinky_03_r", 38, [-0.514, -0.096, -0.237], [-0.517, -0.078, -0.243]),
    ("ring_01_l", 17, [0.505, -0.138, -0.243], [0.514, -0.114, -0.257]),
    ("ring_01_r", 20, [-0.505, -0.138, -0.243], [-0.514, -0.114, -0.257]),
    ("ring_02_l", 41, [0.514, -0.114, -0.257], [0.518, -0.093, -0.269]),
    ("ring_02_r", 42, [-0.514, -0.114, -0.257], [-0.518, -0.093, -0.269]),
    ("ring_03_l", 43, [0.518, -0.093, -0.269], [0.521, -0.069, -0.281]),
    ("ring_03_r", 44, [-0.518, -0.093, -0.269], [-0.521, -0.069, -0.281]),
    ("thumb_01_l", 17, [0.454, -0.190, -0.227], [0.434, -0.181, -0.248]),
    ("thumb_01_r", 20, [-0.454, -0.190, -0.227], [-0.434, -0.181, -0.248]),
    ("thumb_02_l", 47, [0.434, -0.181, -0.248], [0.421, -0.167, -0.279]),
    ("thumb_02_r", 48, [-0.434, -0.181, -0.248], [-0.421, -0.167, -0.279]),
    ("thumb_03_l", 49, [0.421, -0.167, -0.279], [0.416, -0.150, -0.300]),
    ("thumb_03_r", 50, [-0.421, -0.167, -0.279], [-0.416, -0.150, -0.300]),
];

/// The body.
pub fn sample() -> Body {
    let bone = |(name, parent, head, tail): &(&str, i32, [f32; 3], [f32; 3])| Bone {
        name: (*name).into(),
        parent: usize::try_from(*parent).ok(),
        head: Vec3::from_array(*head),
        tail: Vec3::from_array(*tail),
    };
    let bones: Vec<Bone> = BONES.iter().map(bone).collect();
    let (mut vertices, mut skin, mut triangles) = (Vec::new(), Vec::new(), Vec::new());
    for (index, bone) in bones.iter().enumerate() {
        let first = u32::try_from(vertices.len()).unwrap();
        let axis = (bone.tail - bone.head).normalize();
        let (u, v) = (axis.any_orthonormal_vector(), axis.cross(axis.any_orthonormal_vector()));
        for (end, share) in [(bone.head, 0.5), (bone.tail, 1.0)] {
            for corner in 0..RING {
                let (sin, cos) = (corner as f32 / RING as f32 * std::f32::consts::TAU).sin_cos();
                vertices.push(end + (u * cos + v * sin) * 0.02);
                let parent = bone.parent.unwrap_or(index);
                let bones = [index, parent, 0, 0].map(|b| u16::try_from(b).unwrap());
                skin.push(Influences { bones, weights: [share, 1.0 - share, 0.0, 0.0] });
            }
        }
        for corner in 0..RING {
            let (a, b) = (first + corner, first + (corner + 1) % RING);
            triangles.extend([[a, b, a + RING], [b, b + RING, a + RING]]);
        }
    }
    for (name, tip) in TIPS {
        let bone = bones.iter().position(|bone| bone.name == name).unwrap();
        vertices.push(Vec3::from_array(tip));
        skin.push(Influences { bones: [u16::try_from(bone).unwrap(), 0, 0, 0], weights: [1.0, 0.0, 0.0, 0.0] });
    }
    Body { stretch: stretch(&bones), regions: vec![Region::Suit; vertices.len()], bones, vertices, triangles, skin }
}

/// The body with a bone of another name.
pub fn without(name: &str) -> Body {
    let mut body = sample();
    body.bones.iter_mut().filter(|bone| bone.name == name).for_each(|bone| bone.name.insert(0, '_'));
    body
}

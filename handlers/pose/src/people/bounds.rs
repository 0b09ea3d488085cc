//! Upright rectangles.

use glam::Vec2;

/// An upright rectangle, in pixels of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Upper left corner.
    pub min: Vec2,
    /// Lower right corner.
    pub max: Vec2,
}

impl Bounds {
    /// The smallest one around points; `None` without any.
    pub fn around(points: impl IntoIterator<Item = Vec2>) -> Option<Bounds> {
        let mut points = points.into_iter();
        let first = points.next()?;
        Some(points.fold(Bounds { min: first, max: first }, |b, p| Bounds { min: b.min.min(p), max: b.max.max(p) }))
    }

    /// Width and height.
    pub fn size(&self) -> Vec2 {
        (self.max - self.min).max(Vec2::ZERO)
    }

    /// The middle.
    pub fn centre(&self) -> Vec2 {
        (self.min + self.max) / 2.0
    }

    /// Pixels.
    pub fn area(&self) -> f32 {
        self.size().x * self.size().y
    }

    /// Pixels that both have.
    pub fn shared(&self, other: &Bounds) -> f32 {
        Bounds { min: self.min.max(other.min), max: self.max.min(other.max) }.area()
    }

    /// Shared pixels as a part of the pixels of either, 0 to 1.
    pub fn iou(&self, other: &Bounds) -> f32 {
        let shared = self.shared(other);
        shared / (self.area() + other.area() - shared).max(f32::EPSILON)
    }

    /// The part that lies in a picture of that size.
    #[must_use]
    pub fn clipped(&self, size: Vec2) -> Bounds {
        Bounds { min: self.min.clamp(Vec2::ZERO, size), max: self.max.clamp(Vec2::ZERO, size) }
    }
}

//! The cheapest way to give each row a column of its own.

/// Pairs of rows and columns of least total cost, by shortest augmenting paths (Jonker and Volgenant 1987; time cubic). Pairs of
/// a cost above `most` are left out. `costs` has `columns` numbers for each row, all finite.
pub fn assign(costs: &[f32], columns: usize, most: f32) -> Vec<(usize, usize)> {
    let rows = costs.len().checked_div(columns).unwrap_or(0);
    // The method wants as many columns as rows at least: each row gets one more, for nothing found, that costs `most`.
    let width = columns + rows;
    let cost = |row: usize, column: usize| {
        if column < columns { f64::from(costs[row * columns + column].min(2.0 * most + 1.0)) } else { f64::from(most) }
    };
    let mut row_of: Vec<Option<usize>> = vec![None; width];
    let (mut row_price, mut column_price) = (vec![0.0; rows], vec![0.0; width]);
    for start in 0..rows {
        let mut distance = vec![f64::INFINITY; width];
        let (mut from, mut done) = (vec![None; width], vec![false; width]);
        let (mut row, mut reached) = (start, 0.0);
        let mut last: Option<usize> = None;
        let end = loop {
            for column in (0..width).filter(|column| !done[*column]).collect::<Vec<_>>() {
                let length = reached + cost(row, column) - row_price[row] - column_price[column];
                if length < distance[column] {
                    distance[column] = length;
                    from[column] = last;
                }
            }
            let nearest =
                (0..width).filter(|column| !done[*column]).min_by(|a, b| distance[*a].total_cmp(&distance[*b]));
            // There are more columns than rows, so one is free.
            let Some(nearest) = nearest else { return Vec::new() };
            done[nearest] = true;
            reached = distance[nearest];
            match row_of[nearest] {
                None => break nearest,
                Some(next) => (row, last) = (next, Some(nearest)),
            }
        };
        // Prices by which all pairs so far stay the cheapest.
        row_price[start] += reached;
        for column in (0..width).filter(|column| done[*column] && *column != end) {
            column_price[column] += distance[column] - reached;
            if let Some(row) = row_of[column] {
                row_price[row] += reached - distance[column];
            }
        }
        // Each column on the way takes the row of the one before it.
        let mut column = end;
        while let Some(before) = from[column] {
            row_of[column] = row_of[before];
            column = before;
        }
        row_of[column] = Some(start);
    }
    let pairs = row_of.iter().take(columns).enumerate().filter_map(|(column, row)| Some(((*row)?, column)));
    pairs.filter(|(row, column)| costs[row * columns + column] <= most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All ways, for few rows.
    fn least(costs: &[f32], columns: usize, most: f32, row: usize, taken: &mut Vec<usize>) -> f32 {
        if row * columns == costs.len() {
            return 0.0;
        }
        let mut best = most + least(costs, columns, most, row + 1, taken);
        for column in 0..columns {
            if !taken.contains(&column) && costs[row * columns + column] <= most {
                taken.push(column);
                best = best.min(costs[row * columns + column] + least(costs, columns, most, row + 1, taken));
                taken.pop();
            }
        }
        best
    }

    #[test]
    fn no_other_way_is_cheaper() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from((state >> 16) as u16 % 1000) / 1000.0
        };
        for (rows, columns) in [(1, 1), (2, 3), (4, 2), (5, 5), (3, 6), (0, 3), (3, 0)] {
            for _ in 0..50 {
                let costs: Vec<f32> = (0..rows * columns).map(|_| random()).collect();
                let pairs = assign(&costs, columns, 0.6);
                let cost: f32 = pairs.iter().map(|(row, column)| costs[row * columns + column]).sum();
                #[allow(clippy::cast_precision_loss, reason = "a handful")]
                let cost = cost + 0.6 * (if columns == 0 { 0 } else { rows } - pairs.len()) as f32;
                let wanted = least(&costs, columns, 0.6, 0, &mut Vec::new());
                assert!((cost - wanted).abs() < 1e-4, "{rows}x{columns}: {cost} {wanted}");
                let mut seen: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
                seen.dedup();
                assert_eq!(seen.len(), pairs.len());
            }
        }
    }
}

use super::*;

#[test]
fn a_product_that_fits_is_one_block() {
    for trans in [(false, false), (false, true), (true, false), (true, true)] {
        assert_eq!(Blocks::choose(9000, [70, 90, 100], trans.0, trans.1).size, [70, 90, 100]);
    }
    assert!(Blocks { size: [0, 3, 7] }.along(0, 0).eq(std::iter::once(0..0)));
}

#[test]
fn a_queue_of_512_mib_is_cut_into_columns_steps_or_rows_of_128_mib() {
    let fits = 32 << 20;
    let cut = |size, trans_a, trans_b| Blocks::choose(fits, size, trans_a, trans_b).size;
    assert_eq!(cut([256, 65_536, 2048], false, true), [256, 13_120, 2048]); // q queue^T
    assert_eq!(cut([256, 2048, 65_536], false, false), [256, 2048, 13_120]); // dq
    assert_eq!(cut([65_536, 2048, 256], true, false), [13_120, 2048, 256]); // dqueue
}

#[test]
fn every_block_of_every_operand_fits() {
    for (m, n, k) in [(70, 131, 45), (1, 999, 3), (513, 4, 65), (7, 9, 1000)] {
        for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let blocks = Blocks::choose(1100, [m, n, k], trans_a, trans_b);
            let mut covered = 0;
            for rows in blocks.along(0, m) {
                for columns in blocks.along(1, n) {
                    for steps in blocks.along(2, k) {
                        covered += rows.len() * columns.len() * steps.len();
                        let a = if trans_a { (m, &steps, &rows) } else { (k, &rows, &steps) };
                        let b = if trans_b { (k, &columns, &steps) } else { (n, &steps, &columns) };
                        for (row, lines, across) in [a, b, (n, &rows, &columns)] {
                            let window = Window::new(row, lines, across);
                            assert!(window.range.len() <= 1100, "{window:?} of {blocks:?}");
                            assert_eq!(window.range.start + window.at, lines.start * row + across.start);
                        }
                    }
                }
            }
            assert_eq!(covered, m * n * k);
        }
    }
}

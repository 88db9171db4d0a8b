"""The three questions of the first screen: text, claims, figures and the curves to explore."""

HEADLINES: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], dict[str, str]], ...] = (
    (
        "Is the time of the best test accuracy proportional to 1/λ?",
        "With vanilla SGD t* ∝ 1/(ηλ): the numbers are exponents, −1 in the paper. Top row: fully connected "
        "network, bottom row: Wide ResNet. Left: epochs to the best accuracy; middle: that accuracy, which in the "
        "paper has a plateau at small λ; right: the accuracy within a fixed number of epochs, where in the paper "
        "one λ is best. The time to 95 % of the rise above chance has an exponent of its own, beside each "
        "criterion: where that is nearer to 0, as it is for FC, what comes at 1/(ηλ) is only the last of the accuracy.",
        ("01-fc", "01-cnn", "01-cnn_bn", "01-wrn", "01-wrn_aug", "02-fc", "02-wrn"),
        ("fig2",),
        {"sweep": "fc", "x": "product", "points": "t_star-product"},
    ),
    (
        "Does one short run at large λ predict the best λ for any budget?",
        "c = t*·λ is measured in runs at large λ (their length, too, is in the caption); λ = c/T is then the "
        "prediction for T epochs, compared with the best λ of a grid. 07 is the optimum over the prediction at the "
        "budget that is least surely within a factor of ten, 08 the mean loss of accuracy in log-odds. For 09 c is "
        "carried from the η it was measured at to that of the runs by c ∝ 1/η. How far c differs between the λ of "
        "the runs that measure it, which the law says it does not, is in the caption.",
        ("07", "08", "09", "c2-wrn"),
        ("fig4",),
        {"sweep": "wrn_aug", "x": "l2"},
    ),
    (
        "Does AutoL2, which lowers λ during training, beat the best constant λ?",
        "The numbers are differences of test accuracy, AutoL2 minus the best constant λ of a grid, same seeds and "
        "budget, at a constant learning rate (10) and with a learning-rate schedule (11), from λ0 = 0.1 as "
        "printed; c6: from a smaller λ0, our own. Panel c of the figure shows the curves.",
        ("10-wrn", "10-fc", "10-cnn", "10-cnn_bn", "11", "c6-wrn", "c6-fc", "c6-cnn", "c6-cnn_bn"),
        ("fig1",),
        {"sweep": "autol2_wrn", "points": "best-l2"},
    ),
)

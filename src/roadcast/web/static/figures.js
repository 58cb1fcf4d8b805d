// The futures as they stand on the page: a picture each, and under it, while there are two, what is happening in it.

// The figure of a new pane's canvas; what is clicked there is asked of the trip.
export function figureOf(template, trip) {
  const figure = template.content.firstElementChild.cloneNode(true), [canvas] = figure.getElementsByTagName("canvas");
  const mine = () => trip.panes.find((pane) => pane.figure === figure);
  const clicked = (one, act) => one.addEventListener("click", () => mine() && act(mine()));
  clicked(figure.querySelector(".take"), () => trip.swap());
  clicked(figure.querySelector(".mirror"), (pane) => trip.mirror(pane, !pane.mirrored));
  clicked(figure.querySelector(".shut"), (pane) => trip.keep(trip.panes.find((one) => one !== pane)));
  clicked(canvas, (pane) => pane !== trip.driven && trip.swap());
  return { figure, canvas };
}

export function showFigures(trip) {
  document.body.dataset.panes = trip.panes.length;
  for (const pane of trip.panes) {
    const driven = pane === trip.driven, { canvas, figure } = pane;
    canvas.id = driven ? "view" : "other";
    canvas.setAttribute("aria-label", driven ? "The view through the windscreen, live" : "What if: the other future, live");
    figure.classList.toggle("driven", driven);
    figure.querySelector("strong").textContent = driven ? "You drive" : pane.mirrored ? "The other way" : "As it was";
    figure.querySelector(".mirror").setAttribute("aria-pressed", Boolean(pane.mirrored));
    figure.querySelector(".shut").setAttribute("aria-label", driven ? "Close the future that you drive" : "Close the other future");
  }
}

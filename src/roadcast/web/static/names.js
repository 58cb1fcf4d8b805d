// Names for people: of scenes, and of times.

const WEATHERS = {
  clear: "Clear day", sunny: "Sunny day", overcast: "Overcast", cloudy: "Cloudy", fog: "Fog", rain: "Rain", snow: "Snow", dusk: "Dusk", dawn: "Dawn", night: "Night",
};

// One label for each of a model's scenes. A scene is called by its weather where its name tells one, by its own name where that can be
// read, and else by its number; the same label twice is numbered.
export function sceneLabels(names) {
  const labels = names.map((name) => {
    const words = name.toLowerCase().split(/[^a-z]+/).filter(Boolean);
    const weather = words.find((word) => word in WEATHERS);
    if (weather) return WEATHERS[weather];
    return /^[a-z][a-z ,']+$/i.test(name) ? name[0].toUpperCase() + name.slice(1) : "Road";
  });
  const seen = new Map();
  return labels.map((label) => {
    if (labels.filter((other) => other === label).length === 1 && label !== "Road") return label;
    seen.set(label, (seen.get(label) ?? 0) + 1);
    return `${label} ${seen.get(label)}`;
  });
}

export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

// A steering or pedal value as it is read out.
export function side(steer) {
  const percent = Math.round(100 * Math.abs(steer));
  return percent === 0 ? "straight" : `${percent} percent ${steer > 0 ? "left" : "right"}`;
}

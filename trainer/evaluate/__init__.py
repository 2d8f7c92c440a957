"""How well ControlNets obey their control maps: pictures drawn, judged by a segmenter, scored and reported."""
